#!/bin/sh
# Create a virtual environment in the folder $1 if there is none. Debian and Ubuntu have Python's venv in a separate package:
# it is installed if the user has the rights, and named in the error if not.
set -eu

python="${PYTHON:-python3}"
folder="$1"

fail() {
    echo "error: $1" >&2
    exit 2
}

command -v "$python" >/dev/null || fail "$python: not found; expected Python 3.10 or newer. Install it, or name one: make PYTHON=python3.12 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version): too old; expected 3.10 or newer. Name one: make PYTHON=python3.12 ..."
if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null; then
        as_root="sudo"
    else
        fail "$python: no venv; expected the package $package. Install it as root: apt-get install $package"
    fi
    command -v apt-get >/dev/null || fail "$python: no venv and ensurepip; expected both. Install them."
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq "$package"
fi
rm -rf "$folder"
"$python" -m venv "$folder"
