#!/usr/bin/env bash
# ctest: release serial
# The Dockerfile without a container engine: its shape is checked, and the RUN lines of the CPU's image, its last two
# stages, are run in a copy of the sources.
set -euo pipefail
cd "$LORAC_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

die() {
    echo "Dockerfile: $*" >&2
    exit 1
}

# ---- shape ----
stages=$(sed -n 's/^FROM .* AS //p' Dockerfile | tr '\n' ' ')
[ "$stages" = "build-cuda cuda build " ] || die "the stages are $stages, expected build-cuda cuda build and one without a name"
[ "$(grep -c '^FROM ' Dockerfile)" -eq 4 ] || die "expected four stages"
mapfile -t users < <(sed -n 's/^USER //p' Dockerfile)
[ ${#users[@]} -eq 2 ] || die "both images need a USER"
for user in "${users[@]}"; do
    [[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || die "USER is \"$user\", expected numbers other than 0"
done
[ "$(grep -c '^ENTRYPOINT \["lorac"\]$' Dockerfile)" -eq 2 ] || die "the entry point is not lorac"
grep -q 'liblorac_cuda.so /usr/local/lib/liblorac_cuda.so$' Dockerfile || die "the CUDA backend is not in ../lib beside lorac"
mapfile -t all_runs < <(sed -n 's/^RUN //p' Dockerfile)
mapfile -t runs < <(sed -n '/ AS build$/,$s/^RUN //p' Dockerfile)
[ ${#runs[@]} -ge 4 ] || die "found ${#runs[@]} RUN lines, expected at least 4"
for run in "${all_runs[@]}"; do
    [[ $run =~ ^(/tmp/)?scripts/setup(\ --[a-z]+)+$ || $run =~ ^cmake(\ [-A-Za-z0-9_./=]+)+$ ]] ||
        die "RUN \"$run\" is neither scripts/setup nor cmake"
done

# ---- the RUN lines, in a copy of what COPY would take ----
mkdir "$scratch/src" "$scratch/image"
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null -T - -cf - | tar -xf - -C "$scratch/src"
if command -v ccache >/dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache
fi
unset CC
export DESTDIR=$scratch/image
cd "$scratch/src"
for run in "${runs[@]}"; do
    echo "RUN $run"
    read -ra words <<<"${run/#\/tmp\//}"
    "${words[@]}" >"$scratch/log" 2>&1 || { tail -n 40 "$scratch/log"; die "RUN $run failed"; }
done

# ---- the program and the libraries it finds in the slim image ----
program=$DESTDIR/opt/lorac/bin/lorac
"$program" --version
allowed=" "
mapfile -t more < <(scripts/setup --runtime --list)
while [ ${#more[@]} -gt 0 ]; do # these and what they depend on
    allowed+="${more[*]} "
    mapfile -t depends < <(dpkg-query -W -f='${Depends}\n' "${more[@]}" 2>/dev/null | sed 's/([^)]*)//g' | tr -s ',|: ' '\n' |
        sort -u)
    more=()
    for package in "${depends[@]}"; do
        [ -z "$package" ] || [[ $allowed == *" $package "* ]] || more+=("$package")
    done
done
ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | while read -r library; do
    library=$(readlink -f "$library")
    package=$(dpkg -S "$library" 2>/dev/null || dpkg -S "${library#/usr}" 2>/dev/null || dpkg -S "/usr$library")
    package=${package%%:*}
    [[ $allowed == *" $package "* ]] || die "$library is of package $package, which scripts/setup --runtime lacks"
done
echo "all ${#runs[@]} RUN lines pass"
