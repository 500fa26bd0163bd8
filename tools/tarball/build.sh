#!/usr/bin/env bash
# Run by tools/tarball.sh in Debian 11, as root: makes /srv/latentsync/out/*.tar.gz.
#
# What it needs but glibc and libgcc_s is compiled into the program or lies beside it. What drivers of
# graphics cards may use too, such as zlib or the library of C++, must not lie there: they would get ours
# instead of the newer one of their system.
set -euo pipefail
tree=$(cd "$(dirname "$0")/../.." && pwd)
prefix=/opt/latentsync-libraries
work=/srv/latentsync/libraries
out=/srv/latentsync/out
system=/usr/lib/x86_64-linux-gnu
export DEBIAN_FRONTEND=noninteractive PATH=$prefix/bin:$PATH PKG_CONFIG_PATH=$prefix/lib/pkgconfig
MAKEFLAGS=-j$(nproc)
export CFLAGS="-O2 -fPIC" CXXFLAGS="-O2 -fPIC" LDFLAGS="-L$prefix/lib -Wl,--exclude-libs,ALL" MAKEFLAGS

# From Debian 11: what is compiled in, and what lies beside; with the licences of the parts used.
linked=(zlib1g-dev:Zlib libsqlite3-dev:blessing libseccomp-dev:LGPL-2.1-only nettle-dev:LGPL-3.0-or-later
    "libstdc++-10-dev:GPL-3.0-or-later WITH GCC-exception-3.1")
beside=(libjansson-dev:MIT libprotobuf-c-dev:BSD-2-Clause "libgomp1:GPL-3.0-or-later WITH GCC-exception-3.1")
# Built from the source packages of these suites.
built=(libzip/bookworm:BSD-3-Clause libmicrohttpd/trixie:LGPL-2.1-or-later openssl/bookworm:Apache-2.0
    curl/bookworm:curl dav1d/trixie:BSD-2-Clause svt-av1/bookworm:BSD-3-Clause-Clear
    x264/bookworm:GPL-2.0-or-later x265/bookworm:GPL-2.0-or-later opus/trixie:BSD-3-Clause lame/trixie:LGPL-2.0-or-later
    libvpx/bookworm:BSD-3-Clause onednn/trixie:Apache-2.0 ffmpeg/trixie:GPL-3.0-or-later)
tools=(gcc g++ make ninja-build cmake nasm pkg-config python3 dpkg-dev patch clang-19 libspdlog-dev libcmocka-dev protobuf-c-compiler)
# Build tools and headers of newer suites: unpacked, not installed.
newer=(meson/bookworm libffmpeg-nvenc-dev/trixie libvulkan-dev/bookworm)
glslc=(glslc/bookworm libshaderc1/bookworm libc6/bookworm libstdc++6/bookworm libgcc-s1/bookworm)

# quietly LOG COMMAND...
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        echo "tarball: failed; $log has all of it" >&2
        exit 1
    }
}

# fetch NAME/SUITE: the newest source in a suite and its security support that the mirror really has,
# into source/; its version is printed.
fetch() {
    local name=${1%/*} suite=${1#*/} version
    for version in $(apt-cache madison "$name" |
        awk -F ' *[|] *' -v suite="$suite" '$3 ~ " " suite "(-security)?/main Sources" { print $2 }' | sort -rVu); do
        if (cd "$work/source" && apt-get source -q --download-only "$name=$version") >"$work/$name.log" 2>&1; then
            echo "$version"
            return
        fi
        echo "tarball: the mirror lacks files of $name $version; looking for an older one" >&2
    done
    echo "tarball: no source of $name in $suite can be fetched; $work/$name.log may say why" >&2
    exit 1
}

# unpack FOLDER NAME/SUITE...: packages of newer suites.
unpack() {
    local folder=$1 p
    shift
    mkdir -p "$work/packages"
    for p in "$@"; do
        (cd "$work/packages" && rm -f "${p%/*}"_*.deb && quietly "$work/packages/log" apt-get download -q "$p" &&
            dpkg-deb -x "${p%/*}"_*.deb "$folder")
    done
}

make_libzip() {
    cmake -S . -B b -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$prefix -DCMAKE_INSTALL_LIBDIR=lib \
        -DBUILD_SHARED_LIBS=OFF -DENABLE_{COMMONCRYPTO,GNUTLS,MBEDTLS,OPENSSL,BZIP2,LZMA}=OFF -DBUILD_{TOOLS,REGRESS,EXAMPLES,DOC}=OFF
    ninja -C b install
}

make_libmicrohttpd() {
    ./configure --prefix=$prefix --disable-{shared,https,doc,examples,tools} --with-pic
    make install
}

make_openssl() {
    ./Configure linux-x86_64 no-shared no-tests no-module no-legacy --prefix=$prefix --libdir=lib --openssldir=/etc/ssl
    make build_libs
    make install_dev
}

make_curl() {
    ./configure --prefix=$prefix --disable-shared --with-openssl=$prefix --with-ca-fallback --without-ca-{bundle,path} \
        --without-{zlib,brotli,zstd,nghttp2,libpsl,libidn2,librtmp,libssh2} \
        --disable-{ldap,manual,ftp,file,dict,telnet,tftp,pop3,imap,smb,smtp,gopher,mqtt,rtsp,ntlm}
    make -C lib install
    make -C include install
    make install-pkgconfigDATA
}

make_dav1d() {
    meson setup b --prefix $prefix --libdir lib --default-library static --buildtype release -Denable_tools=false -Denable_tests=false
    ninja -C b install
}

make_svt-av1() {
    cmake -S . -B b -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$prefix -DCMAKE_INSTALL_LIBDIR=lib \
        -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_{SHARED_LIBS,APPS,DEC}=OFF
    ninja -C b install
}

make_x264() {
    ./configure --prefix=$prefix --enable-{static,pic} --disable-cli
    make install
}

# One library that encodes 8, 10 and 12 bits. Where there is no Git, it is told to read its version from
# its own file.
make_x265() {
    make_bits() { # FOLDER OPTIONS...
        cmake -S source -B "$@" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$prefix -DCMAKE_INSTALL_LIBDIR=lib \
            -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DENABLE_{SHARED,CLI,LIBNUMA}=OFF -DGIT_ARCHETYPE=1
        ninja -C "$1"
    }
    make_bits b10 -DHIGH_BIT_DEPTH=ON -DEXPORT_C_API=OFF
    make_bits b12 -DHIGH_BIT_DEPTH=ON -DEXPORT_C_API=OFF -DMAIN12=ON
    make_bits b "-DEXTRA_LIB=$PWD/b10/libx265.a;$PWD/b12/libx265.a" -DLINKED_{10,12}BIT=ON
    ninja -C b install
    printf '%s\n' "create $prefix/lib/libx265.a" "addlib "{b,b10,b12}/libx265.a save end | ar -M
}

make_opus() {
    ./configure --prefix=$prefix --disable-{shared,doc,extra-programs} --with-pic
    make install
}

make_lame() {
    ./configure --prefix=$prefix --disable-{shared,frontend} --with-pic
    make install
}

make_libvpx() {
    ./configure --prefix=$prefix --enable-{pic,vp9-highbitdepth,runtime-cpu-detect} --disable-{examples,tools,docs,unit-tests,install-bins}
    make install
}

make_onednn() {
    cmake -S . -B b -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$prefix -DCMAKE_INSTALL_LIBDIR=lib \
        -DONEDNN_BUILD_{TESTS,EXAMPLES,DOC,GRAPH}=OFF -DONEDNN_ENABLE_WORKLOAD=INFERENCE \
        "-DONEDNN_ENABLE_PRIMITIVE=CONVOLUTION;MATMUL;POOLING;REORDER" -DONEDNN_ENABLE_JIT_PROFILING=OFF
    ninja -C b install
}

# Local files only: nothing in a video can make it open a connection.
make_ffmpeg() {
    ./configure --prefix=$prefix --enable-{gpl,version3,shared} \
        --disable-{static,programs,doc,debug,network,autodetect,avdevice,postproc,filters} --enable-filter=bwdif \
        --enable-{zlib,libx264,libx265,libsvtav1,libdav1d,libopus,libmp3lame,libvpx,ffnvcodec,nvenc,nvdec,cuvid} \
        --pkg-config-flags=--static --extra-libs="-lpthread -lm"
    make
    make install
}

# Again only where the source, or what is done with it, has changed.
build_library() { # NAME/SUITE
    local name=${1%/*} version stamp
    version=$(fetch "$1")
    stamp="$version $(declare -f "make_$name" | sha256sum)"
    versions[$name]=$version
    [ "$(cat "$work/$name.built" 2>/dev/null)" != "$stamp" ] || return 0
    echo "tarball: building $name $version"
    rm -rf "${work:?}/$name"
    quietly "$work/$name.log" dpkg-source -x "$work/source/${name}_${version#*:}.dsc" "$work/$name"
    # a process of its own, so that it ends at what fails
    (cd "$work/$name" && quietly "$work/$name.log" bash -euo pipefail -c "prefix=$prefix; $(declare -f "make_$name"); make_$name")
    echo "$stamp" >"$work/$name.built"
}

declare -A versions
mkdir -p "$work/source" $prefix/{bin,lib}
quietly "$work/apt.log" apt-get -q update
quietly "$work/apt.log" apt-get -q -y --no-install-recommends install "${tools[@]}" "${linked[@]%%:*}" "${beside[@]%%:*}"
unpack / "${newer[@]}"
unpack $prefix/glslc "${glslc[@]}"
loader=$prefix/glslc/lib/x86_64-linux-gnu
printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' "$loader/ld-linux-x86-64.so.2" "$loader:$prefix/glslc$system" \
    "$prefix/glslc/usr/bin/glslc" >$prefix/bin/glslc
# shellcheck disable=SC2016
printf '#!/bin/sh\nexec /usr/bin/pkg-config --static "$@"\n' >$prefix/bin/pkg-config
chmod +x $prefix/bin/{glslc,pkg-config}
ln -sf /usr/bin/clang-19 $prefix/bin/clang
# What is left to the linker then is the static library.
for p in "${linked[@]%%:*}"; do
    dpkg -L "$p" | grep '\.so$' | xargs -r rm -f
done
gcc -O2 -fPIC -fno-builtin -c "$tree/tools/tarball/libm.c" -o $prefix/lib/libm.o
echo "GROUP ( $prefix/lib/libm.o /lib/x86_64-linux-gnu/libm.so.6 AS_NEEDED ( /lib/x86_64-linux-gnu/libmvec.so.1 ) )" >$system/libm.so
for p in "${built[@]%%:*}"; do
    build_library "$p"
done

echo "tarball: building latentsync"
build=/srv/latentsync/build
rm -rf $build # which remembers where libraries were
# shellcheck disable=SC2016 # $ORIGIN is the loader's
CFLAGS='' quietly "$work/meson.log" meson setup $build "$tree" --prefix=/opt/latentsync --libdir=lib \
    -D{onednn,cuda,vulkan,net,server}=enabled -Dpuppet=disabled -Dpkgconfig.relocatable=true \
    -Dc_args="-I$prefix/include" -Dc_link_args="$LDFLAGS -Wl,--disable-new-dtags,-rpath,\$ORIGIN/../lib"
# what is installed, without the tests
mapfile -t targets < <(ninja -C $build -t targets all | sed 's/: [^:]*$//' | grep -Fxf \
    <(meson introspect --installed $build | tr , '\n' | sed -n "s|^[{ ]*\"$build/\([^\"]*\)\": .*|\1|p"))
quietly "$work/ninja.log" ninja -C $build "${targets[@]}" parity
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$tree/meson.build")
name=latentsync-$version-linux-x86_64
rm -rf $out
mkdir -p $out/install
DESTDIR=$out/install quietly "$work/install.log" meson install -C $build --no-rebuild
mv $out/install/opt/latentsync "$out/$name"
rm -r $out/install "$out/$name"/lib/*.a
# shellcheck disable=SC2016 # ${libdir} is pkg-config's
sed -i '/^\(Requires\|Libs\).private:/d; s|^Libs: |&-Wl,-rpath-link,${libdir} |' "$out/$name/lib/pkgconfig/latentsync.pc"
cp -P $prefix/lib/lib{avcodec,avfilter,avformat,avutil,swscale,swresample,dnnl}.so.* "$out/$name/lib/"
ldd "$out/$name"/bin/latentsync "$out/$name"/lib/*.so.* | awk '$3 ~ "^(/usr)?/lib/x86_64-linux-gnu/" { print $3 }' | sort -u |
    grep -vE '/lib(c|m|mvec|dl|rt|pthread|gcc_s)\.so' | xargs cp -Lt "$out/$name/lib/"
find "$out/$name" -type f \( -path '*/bin/*' -o -name '*.so.*' \) -exec strip --strip-unneeded {} +

licenses=$out/$name/share/licenses
mkdir -p "$licenses"
cp "$tree/LICENSE" "$licenses/latentsync"
cp /usr/share/common-licenses/{GPL-2,GPL-3,LGPL-2,LGPL-2.1,LGPL-3,Apache-2.0} "$licenses/"
{
    printf '%s\t%s\t%s\t%s\n' latentsync "$version" - Apache-2.0
    for p in "${built[@]}"; do
        suite=${p#*/}
        n=${p%/*}
        cp "$work/$n/debian/copyright" "$licenses/$n"
        printf '%s\t%s\t%s\t%s\n' "$n" "${versions[$n]}" "${suite%%:*}" "${p#*:}"
    done
    for p in "${linked[@]}" "${beside[@]}"; do
        n=${p%%:*}
        cp -L "/usr/share/doc/$n/copyright" "$licenses/$n"
        dpkg-query -W -f '${source:Package}\t${source:Version}\tbullseye\t' "$n"
        echo "${p#*:}"
    done
} | awk '!seen[$0]++' >$out/components # of one source there may be several packages
"$tree/tools/tarball/sbom.py" $out/components "$out/$name"
tar -C $out --sort=name --mtime=@"$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -c "$name" | gzip -9n >"$out/$name.tar.gz"
(cd $out && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
