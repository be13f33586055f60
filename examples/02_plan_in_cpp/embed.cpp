// Embeds an image in C++ with a plan of fastrt. Needs only TensorRT (8.6 to 11) and CUDA.
//
//     embed r50.engine [pixels.bgr]
//
// pixels.bgr contains the raw pixels of one image at the engine's size, (H, W, 3) uint8 BGR; README.md shows how to make
// it. Without it, a white image is embedded.

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

void check(bool good, const std::string& message) {
    if (!good) throw std::runtime_error(message);
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

// Returns the embedding, (D) float32, of one image; empty pixels mean a white image.
std::vector<float> embed(nvinfer1::ICudaEngine& engine, std::vector<char> pixels) {
    check(engine.getTensorDataType("images") == nvinfer1::DataType::kUINT8, "plan: input images is not uint8; expected a plan built with --io u8_nhwc_bgr");
    nvinfer1::Dims shape = engine.getTensorShape("images");  // (-1, H, W, 3)
    shape.d[0] = 1;
    const std::size_t size = shape.d[1] * shape.d[2] * shape.d[3];
    if (pixels.empty()) pixels.assign(size, '\xff');
    check(pixels.size() == size, "image: expected " + std::to_string(size) + " bytes, (H, W, 3) uint8");
    std::vector<float> embedding(engine.getTensorShape("embedding").d[1]);

    const Stream stream;  // destroyed in reverse order: the context before its memory
    const Buffer images(size), embeddings(embedding.size() * sizeof(float));
    const std::unique_ptr<nvinfer1::IExecutionContext> context(engine.createExecutionContext());
    check(context != nullptr, "TensorRT: no context; expected more free GPU memory");
    // Profile 0 is for the smallest batches: 1 image if the plan was built with --batch 1,...
    check(context->setOptimizationProfileAsync(0, stream.handle), "plan: profile 0 cannot be selected");
    check(context->setInputShape("images", shape), "plan: profile 0 rejects a batch of 1; expected a plan built with --batch 1,...");
    check(context->setTensorAddress("images", images.data) && context->setTensorAddress("embedding", embeddings.data),
          "plan: no tensor images or embedding; expected a plan of fastrt");
    check(cudaMemcpyAsync(images.data, pixels.data(), size, cudaMemcpyHostToDevice, stream.handle));
    check(context->enqueueV3(stream.handle), "TensorRT: the plan cannot be run");
    check(cudaMemcpyAsync(embedding.data(), embeddings.data, embedding.size() * sizeof(float), cudaMemcpyDeviceToHost,
                          stream.handle));
    check(cudaStreamSynchronize(stream.handle));
    return embedding;
}

std::vector<char> read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    check(!bytes.empty(), path + ": missing or empty; expected a file with content");
    return bytes;
}

int main(int count, char** words) try {
    check(count == 2 || count == 3, "usage: embed r50.engine [pixels.bgr]");
    const std::vector<char> plan = read(words[1]);
    Logger logger;
    const std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger));
    check(runtime != nullptr, "TensorRT: no runtime; expected a working installation");
    // A plan that was built with --version-compatible also needs: runtime->setEngineHostCodeAllowed(true);
    const std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime->deserializeCudaEngine(plan.data(), plan.size()));
    check(engine != nullptr, "plan: cannot be loaded; expected one of this TensorRT version and GPU architecture");
    const std::vector<char> pixels = count == 3 ? read(words[2]) : std::vector<char>{};
    for (const float value : embed(*engine, pixels)) std::cout << value << '\n';
    return 0;
} catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
}
