#!/bin/sh
# Make a virtual environment in the folder $1, unless there is one. Debian and Ubuntu keep Python's venv in a package of its
# own: it is installed if that may be done, and named if not.
set -eu

python="${PYTHON:-python3}"
folder="$1"

fail() {
    echo "error: $1" >&2
    exit 2
}

command -v "$python" >/dev/null || fail "there is no $python; install Python 3.10 or newer, or name one: make PYTHON=python3.12 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old; fastrt wants 3.10 or newer: make PYTHON=python3.12 ..."
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
        fail "Python's venv is missing; install it as root first: apt-get install $package"
    fi
    command -v apt-get >/dev/null || fail "Python's venv and ensurepip are missing; install them first"
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq "$package"
fi
rm -rf "$folder"
"$python" -m venv "$folder"
