#!/usr/bin/env bash
# Installs the build into an empty prefix and uses it as somebody else would: find_package, pkg-config, static and shared, the
# program from its installed place. Usage: installed.sh SOURCE BUILD
set -eu
source=$1 build=$2
work=$build/installed
rm -rf "$work"
DESTDIR='' cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$source/tests/house/consumer" -B "$work/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix"
cmake --build "$work/consumer"
library=$(dirname "$(find "$work/prefix" -name 'libcdunet.so')")
"$work/consumer/consumer-static"
"$work/consumer/consumer-shared"
export PKG_CONFIG_PATH=$library/pkgconfig
# the prefix in the file is where the build would be installed by default: here it is moved
flags="$(pkg-config --define-variable=prefix="$work/prefix" --cflags --libs cdunet)"
cc -std=c11 "$source/tests/house/consumer/consumer.c" -o "$work/by-pkg-config" $flags
LD_LIBRARY_PATH=$library "$work/by-pkg-config"
"$work/prefix/bin/cdunet" --version
"$work/prefix/bin/cdunet" help >/dev/null
[ -x "$work/prefix/libexec/cdunet/cdunet-compile" ] || { echo "cdunet-compile is not installed"; exit 1; }
packs=$(find "$source/tune" -name '*.json' | wc -l)
[ "$(find "$work/prefix/share/cdunet/tune" -name '*.json' 2>/dev/null | wc -l)" = "$packs" ] || { echo "tune packs are not installed"; exit 1; }
hidden=$(nm -D --defined-only "$library/libcdunet.so" | awk '{print $3}' | grep -v '^cdu_' || true)
if [ -n "$hidden" ]; then echo "exported without the prefix: $hidden"; exit 1; fi
nm -D --defined-only "$library/libcdunet.so" | grep -q ' cdu_devices_list$'
if nm -D --defined-only "$library/libcdunet.so" | grep -q ' cdu_allocate$'; then
    echo "cdu_allocate is not public but exported"; exit 1
fi
if grep -rn --include='*.cmake' --include='*.pc' -F "$source" "$work/prefix"; then echo "an installed file names the source folder"; exit 1; fi
echo "installed copy works"
