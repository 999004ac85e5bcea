#!/bin/sh
# Compiles the CNI executable into .build, small and static: musl if it is there, else the C library of the machine.
cd "$(dirname "$0")/.." && mkdir -p .build || exit 1
for compiler in musl-gcc cc; do
  command -v "$compiler" >/dev/null || continue
  "$compiler" -std=c99 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -s -o .build/fairlead-cni.new native/fairlead-cni.c && mv .build/fairlead-cni.new .build/fairlead-cni && exit 0
done
exit 1
