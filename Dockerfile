# The program and its server, for processors and NVIDIA cards: docker build -t latentsync .
# examples/README.md says how it is run.
FROM debian:12-slim AS build
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        gcc clang meson ninja-build pkg-config python3 libavformat-dev libavcodec-dev \
        libavfilter-dev libavutil-dev libswscale-dev libswresample-dev libdnnl-dev libzip-dev \
        libcurl4-openssl-dev libjansson-dev libprotobuf-c-dev protobuf-c-compiler \
        libmicrohttpd-dev libsqlite3-dev libseccomp-dev nettle-dev glslc libvulkan-dev && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY meson.build meson_options.txt ./
COPY include include
COPY bench bench
COPY bindings/comfyui bindings/comfyui
COPY models/mini models/mini
COPY src src
COPY tools tools
COPY tests/*.h tests/
RUN meson setup build -Dauto_features=enabled -Dpuppet=disabled -Dtests=false && \
    ninja -C build && \
    DESTDIR=/install ninja -C build install && \
    rm -rf /install/usr/local/include /install/usr/local/lib

FROM debian:12-slim
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates curl libavformat59 libavcodec59 libavfilter8 libavutil57 libswscale6 \
        libswresample4 libdnnl2 libzip4 libcurl4 libjansson4 libprotobuf-c1 libmicrohttpd12 \
        libsqlite3-0 libseccomp2 libnettle8 libgomp1 && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --home-dir /data latentsync && \
    install -d -o latentsync -g latentsync /data
COPY --from=build /install /
# Models, uploads and results, and packed weights, are all in the volume.
ENV XDG_DATA_HOME=/data XDG_CACHE_HOME=/data/cache \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER latentsync
WORKDIR /data
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD curl -fsS -o /dev/null http://127.0.0.1:7860/health
ENTRYPOINT ["latentsync"]
CMD ["serve", "--listen", "0.0.0.0:7860", "--token-file", "/run/secrets/latentsync_token"]
