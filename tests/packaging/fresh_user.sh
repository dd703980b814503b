#!/usr/bin/env bash
# Installs WHEEL for somebody who has nothing yet, once with pipx and once with uv, carries out first
# commands where no network can be reached, and removes it: fresh_user.sh FOLDER_OF_PIPX_AND_UV WHEEL
set -euo pipefail
tools=$(cd "$1" && pwd)
wheel=$(realpath "$2")
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT

# Only what says where packages come from is handed on.
handed=()
while IFS='=' read -r name value; do
    case $name in PIP_* | UV_* | SSL_CERT_* | HTTP_PROXY | HTTPS_PROXY | http_proxy | https_proxy) handed+=("$name=$value") ;; esac
done < <(env)
clean() { env -i "HOME=$home" "PATH=$tools:/usr/bin:/bin" LANG=C.UTF-8 "$@"; }

# A network of its own, that has nothing but itself; where that is not allowed, proxies that refuse.
if unshare --net true 2>/dev/null; then offline=(unshare --net)
else
    offline=(env HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9)
    echo "no network of its own could be had: proxies that refuse stand for it" >&2
fi

used() { # What somebody does first; $1 is the command that was installed.
    local program=$1 folder="$home/pictures"
    mkdir -p "$folder" && cd "$folder"
    clean "$program" --version
    clean "${offline[@]}" "$program" --help >/dev/null
    clean "${offline[@]}" "$program" demo --list >/dev/null
    clean "${offline[@]}" "$program" demo
    cd safelight-demo
    clean "${offline[@]}" "$program" find rocket | grep -q '\.png'
    clean "${offline[@]}" "$program" rate --where rocket --stars 5 >/dev/null
    clean "${offline[@]}" "$program" effects >/dev/null
    clean "${offline[@]}" "$program" archive verify >/dev/null
    clean "${offline[@]}" "$program" demo steps_and_guidance --copy . >/dev/null
    test -s steps_and_guidance.toml
    clean "${offline[@]}" "$program" report --write report.html >/dev/null
    test -s report.html
    cd / && rm -r "$folder"
}

echo "== pipx"
clean "${handed[@]}" pipx install --quiet "$wheel"
used "$home/.local/bin/safelight"
clean pipx uninstall safelight
test ! -e "$home/.local/bin/safelight"

echo "== uv"
clean "${handed[@]}" uv tool install --quiet "$wheel"
used "$home/.local/bin/safelight"
clean uv tool uninstall safelight
test ! -e "$home/.local/bin/safelight"

echo "installed, used without a network, and removed: twice"
