#!/usr/bin/env bash
# Build the sd-server of stable-diffusion.cpp from its Python package's source, start it on a free
# port, and run test_real_sdcpp.py and openai_images/test_real_sd_server.py against it. Needs g++,
# cmake, 1 GB of disk and about five minutes of two cores for the build, which is kept.
#
#   MODEL=sdxs.safetensors TAESD=taesd.safetensors tests/backends/webui/real_sdcpp.sh [FOLDER]
#
# MODEL and TAESD are a checkpoint and a tiny autoencoder that stable-diffusion.cpp can load;
# random weights will do. Without TAESD the checkpoint must bring its own VAE.
set -euo pipefail

: "${MODEL:?name a checkpoint in MODEL}"
PYTHON=${PYTHON:-python3}
folder=${1:-build/sdcpp}
version=0.4.7
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
server="$folder/build/bin/sd-server"

if [ ! -x "$server" ]; then
  "$PYTHON" -m pip download --no-deps --no-binary :all: --dest "$folder" \
    "stable-diffusion-cpp-python==$version"
  tar -xf "$folder"/stable_diffusion_cpp_python-$version.tar.gz -C "$folder"
  cmake -S "$folder/stable_diffusion_cpp_python-$version/vendor/stable-diffusion.cpp" \
    -B "$folder/build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 \
    -DSD_WEBP=OFF -DSD_WEBM=OFF -DSD_SERVER_BUILD_FRONTEND=OFF
  cmake --build "$folder/build" --target sd-server -j"$(nproc)"
fi

port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$server" -m "$MODEL" ${TAESD:+--taesd "$TAESD"} --listen-ip 127.0.0.1 --listen-port "$port" \
  -t "$(nproc)" >"$folder/server.log" 2>&1 &
trap 'kill $!' EXIT

for _ in $(seq 120); do
  if "$PYTHON" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/sdapi/v1/options', timeout=2)" 2>/dev/null; then
    SAFELIGHT_SDCPP_URL="http://127.0.0.1:$port" "$PYTHON" -m pytest "$here/test_real_sdcpp.py" \
      "$here/../openai_images/test_real_sd_server.py"
    exit
  fi
  sleep 0.5
done
echo "sd-server did not start; see $folder/server.log" >&2
exit 1
