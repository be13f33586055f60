// A person's embedding in C++, from a plan that fastrt built, with nothing but TensorRT (8.6 to 11) and CUDA.
//
//     embed r50.engine [pixels.bgr]
//
// pixels.bgr holds the pixels of one image at the engine's size, (H, W, 3) uint8 BGR, and nothing else; README.md says
// how to make it. Without it, a white image is embedded.

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

void check(bool good, const std::string& complaint) {
    if (!good) throw std::runtime_error(complaint);
}

void check(cudaError_t error) { check(error == cudaSuccess, cudaGetErrorString(error)); }

struct Logger : nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kWARNING) std::cerr << message << '\n';
    }
};

struct Stream {
    cudaStream_t handle{};
    Stream() { check(cudaStreamCreate(&handle)); }
    ~Stream() { cudaStreamDestroy(handle); }
};

struct Buffer {
    void* data{};
    explicit Buffer(std::size_t size) { check(cudaMalloc(&data, size)); }
    ~Buffer() { cudaFree(data); }
};

// The embedding, (D) float32, of one image; empty pixels stand for white ones.
std::vector<float> embed(nvinfer1::ICudaEngine& engine, std::vector<char> pixels) {
    check(engine.getTensorDataType("images") == nvinfer1::DataType::kUINT8, "the plan was not built for u8_nhwc_bgr");
    nvinfer1::Dims shape = engine.getTensorShape("images");  // (-1, H, W, 3)
    shape.d[0] = 1;
    const std::size_t size = shape.d[1] * shape.d[2] * shape.d[3];
    if (pixels.empty()) pixels.assign(size, '\xff');
    check(pixels.size() == size, "the image has not " + std::to_string(size) + " bytes");
    std::vector<float> embedding(engine.getTensorShape("embedding").d[1]);

    const Stream stream;  // what is made last goes first: the context before the memory that it works on
    const Buffer images(size), embeddings(embedding.size() * sizeof(float));
    const std::unique_ptr<nvinfer1::IExecutionContext> context(engine.createExecutionContext());
    check(context != nullptr, "there is not memory enough for a context");
    // Profile 0 is the one for the smallest batches: for one image, if the plan was built with --batch 1,...
    check(context->setOptimizationProfileAsync(0, stream.handle), "profile 0 cannot be chosen");
    check(context->setInputShape("images", shape), "profile 0 of this plan does not take a batch of 1");
    check(context->setTensorAddress("images", images.data) && context->setTensorAddress("embedding", embeddings.data),
          "the plan has no images, or no embedding");
    check(cudaMemcpyAsync(images.data, pixels.data(), size, cudaMemcpyHostToDevice, stream.handle));
    check(context->enqueueV3(stream.handle), "TensorRT could not run the plan");
    check(cudaMemcpyAsync(embedding.data(), embeddings.data, embedding.size() * sizeof(float), cudaMemcpyDeviceToHost,
                          stream.handle));
    check(cudaStreamSynchronize(stream.handle));
    return embedding;
}

std::vector<char> read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    check(!bytes.empty(), "there is no file " + path + ", or nothing in it");
    return bytes;
}

int main(int count, char** words) try {
    check(count == 2 || count == 3, "usage: embed r50.engine [pixels.bgr]");
    const std::vector<char> plan = read(words[1]);
    Logger logger;
    const std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger));
    check(runtime != nullptr, "TensorRT does not start");
    // A plan that was built with --version-compatible also wants: runtime->setEngineHostCodeAllowed(true);
    const std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime->deserializeCudaEngine(plan.data(), plan.size()));
    check(engine != nullptr, "the plan is not for this TensorRT, or not for this GPU");
    const std::vector<char> pixels = count == 3 ? read(words[2]) : std::vector<char>{};
    for (const float value : embed(*engine, pixels)) std::cout << value << '\n';
    return 0;
} catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
}
