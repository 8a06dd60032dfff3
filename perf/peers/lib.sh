# SPDX-License-Identifier: MIT
#
# Sourced by the run scripts, which set $here (their folder).
# $b     build folder: $BUILD_DIR/<peer>, kept, or else a temporary one
# rep    runs a command and tags each figure with the distance of the two cores,
#        measured before and after: near (below near_max ns), far, or mixed
# show   prints medians, or with RAW=1 the raw lines
# need   installs those of the named Debian packages that are missing
near_max=${NEAR_MAX:-250} # near cores were seen at 55 to 230 ns, far ones at 320 and more
if [ -n "$BUILD_DIR" ]; then
  b=$BUILD_DIR/$(basename "$here"); mkdir -p "$b"
  trap 'kill $sp 2>/dev/null || true' EXIT
else
  b=$(mktemp -d)
  trap 'kill $sp 2>/dev/null || true; rm -rf "$b"' EXIT
fi
[ -x "$b/c2c" ] || gcc -O2 -pthread -o "$b/c2c" "$here/../c2c.c"
[ -e "$b/key.der" ] || "$here/../certs" "$b"
rep() {
  c0=$("$b/c2c"); timeout ${LIMIT:-90} "$@" > "$b/out" || echo "# failed: $*"
  c1=$("$b/c2c")
  awk -v a="$c0" -v z="$c1" -v n=$near_max '
    { print $0, (a < n && z < n) ? "near" : (a >= n && z >= n) ? "far" : "mixed" }' "$b/out"
}
need() {
  miss=""
  for p in "$@"; do dpkg -s "$p" >/dev/null 2>&1 || miss="$miss $p"; done
  [ -n "$miss" ] || return 0
  apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends $miss >&2
}
show() { if [ -n "$RAW" ]; then cat; else "$here/../median"; fi; }
