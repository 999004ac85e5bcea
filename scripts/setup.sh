#!/bin/sh
# Brings in what Fairlead needs: npm packages, Debian packages (where root), and its small native executable.
#
#   scripts/setup.sh run     what running needs
#   scripts/setup.sh test    that, and what the tests need beside it
#   scripts/setup.sh vm      that, and the second kernel
#
# Says what it does; quick and silent when there is nothing to do. What can't be had is one line: what, and what it is for.
set -u
cd "$(dirname "$0")/.." || exit 1
purpose=${1:-run}
missing=0

say() { printf '  \033[2m•\033[0m %s\n' "$*"; }
lack() { printf '  \033[33m!\033[0m %s\n' "$*"; missing=1; }

# --- npm packages: the libraries, and Node itself where the machine's own is older than 24
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  command -v npm >/dev/null || { lack "npm is missing: it brings Fairlead's libraries and its Node (Debian: apt-get install npm)"; exit 1; }
  say "installing npm packages"
  npm install --no-save --loglevel=error >&2 || { lack "npm install failed: nothing runs without its packages"; exit 1; }
  touch node_modules/.package-lock.json
fi

# --- Debian packages: FILE:PACKAGE:WHAT FOR
want_run="
/usr/lib/*/libnftables.so.1:libnftables1:programs nftables, without it there is no lab and no agent
/usr/bin/unshare:util-linux:isolates the lab's programs
/sbin/ip:iproute2:the guide's commands in a lab node
/bin/ping:iputils-ping:probe --protocol icmp
/usr/sbin/iptables-restore:iptables:Services by iptables, and reading the rules of others"
want_test="
/usr/sbin/nft:nftables:kernel tests compare with nft
/usr/sbin/conntrack:conntrack:kernel tests
/usr/bin/cc:gcc:compiles the CNI executable
/usr/include/stdio.h:libc6-dev:compiles the CNI executable
/usr/bin/dig:dnsutils:DNS tests ask with dig
/usr/bin/musl-gcc:musl-tools:DNS tests ask with musl's resolver too
/usr/bin/podman:podman:one real container is wired through our CNI
/usr/sbin/runc:runc:runs that container
/usr/sbin/bird:bird2:a neighbour in the BGP tests and benchmark
/usr/lib/frr/bgpd:frr:a neighbour in the BGP tests and benchmark, and the router of a rack
/usr/bin/gobgpd:gobgpd:a neighbour in the BGP tests and benchmark
/usr/sbin/exabgp:exabgp:a neighbour in the BGP tests
/usr/bin/iperf3:iperf3:the network benchmark
/usr/bin/dnsperf:dnsperf:the load of the DNS benchmark
/usr/bin/zsh:zsh:reads its completion script
/usr/bin/fish:fish:reads its completion script
/usr/lib/cni/bridge:containernetworking-plugins:the peer in the CNI benchmark
/bin/busybox:busybox-static:root file system of that container, start of the second kernel, musl-like resolver tests
"
want_vm="
/usr/sbin/ipvsadm:ipvsadm:IPVS tests compare with it
/usr/sbin/ipset:ipset:IPVS tests compare with it
/usr/bin/qemu-system-x86_64:qemu-system-x86:runs the second kernel, in which IPVS is tested"
wanted=$want_run
[ "$purpose" = run ] || wanted="$want_run$want_test"
[ "$purpose" != vm ] || wanted="$wanted$want_vm"

packages=
while IFS=: read -r file package why; do
  [ -n "$file" ] || continue
  # shellcheck disable=SC2086 # the file may be a pattern
  set -- $file
  [ -e "$1" ] && continue
  packages="$packages $package"
  reasons="${reasons:-}$package: $why
"
done <<EOF
$wanted
EOF
if [ -n "$packages" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Debian packages:$packages"
    # shellcheck disable=SC2086 # a list of names
    { [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -mtime -2 2>/dev/null | head -n 1)" ] || apt-get update -qq; } >/dev/null 2>&1
    # Routers are for tests in namespaces of their own: their packages start nothing here.
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=; else
      printf '#!/bin/sh\nexit 101\n' >"$policy"
      chmod 755 "$policy"
      trap 'rm -f "$policy"' EXIT
    fi
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1 ||
      for package in $packages; do
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || lack "could not install $(printf %s "$reasons" | grep "^$package:" | head -n 1)"
      done
    [ -z "$policy" ] || rm -f "$policy"
    trap - EXIT
  else
    printf %s "$reasons" | while IFS= read -r line; do printf '  \033[33m!\033[0m missing %s (as root: apt-get install %s)\n' "$line" "${line%%:*}"; done
  fi
fi

# --- the native CNI executable; without a compiler the Node one serves
mkdir -p .build
if [ -x scripts/build-native.sh ] && { [ ! -x .build/fairlead-cni ] || [ native/fairlead-cni.c -nt .build/fairlead-cni ]; }; then
  if command -v cc >/dev/null; then
    say "compiling the CNI executable"
    scripts/build-native.sh >/dev/null 2>&1 || lack "the CNI executable did not compile: the Node one is used, which is slower (40 ms instead of 2)"
  else
    lack "no C compiler: the CNI executable in Node is used, which is slower (40 ms instead of 2)"
  fi
fi
# --- a newer kubectl, and helm, for tests
if [ "$purpose" != run ]; then
  [ -e .build/clients/package ] || say "fetching kubectl and helm"
  sh scripts/clients.sh || lack "kubectl 1.35 and helm could not be had: tests with kubectl use this machine's own if there is one, those with helm are skipped"
fi
# --- the second kernel, for tests of what this machine's may lack
if [ "$purpose" = vm ] && [ "$(id -u)" = 0 ] && ! ls .build/vm/boot/vmlinuz-* >/dev/null 2>&1; then
  say "unpacking the second kernel"
  sh scripts/vm/fetch.sh || lack "the second kernel could not be had: IPVS is not tested"
fi
touch .build/ready
[ "$missing" = 0 ] || [ "$purpose" = run ] || say "some tests will say what they lack"
exit 0
