# lora.c in two images, both run as a user without rights.
#   docker build -t lorac .                      the CPU's: slim, the last stage
#   docker build -t lorac-cuda --target cuda .   for NVIDIA GPUs
#   docker run --rm -v "$PWD:/work" lorac train job.json --out runs/mine
#   docker run --rm --gpus all -v "$PWD:/work" lorac-cuda train job.json --out runs/mine
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS build-cuda
WORKDIR /src
COPY scripts/setup scripts/requirements-cuda.txt scripts/
RUN scripts/setup --build --cuda --clean
COPY . .
RUN cmake --preset release -DLORAC_TESTS=OFF -DLORAC_CUDA=ON
RUN cmake --build --preset release
RUN cmake --install build/release --prefix /opt/lorac

FROM nvidia/cuda:13.0.2-runtime-ubuntu24.04 AS cuda
COPY scripts/setup /tmp/scripts/setup
RUN /tmp/scripts/setup --runtime --clean
COPY --from=build-cuda /opt/lorac/bin/lorac /usr/local/bin/lorac
COPY --from=build-cuda /opt/lorac/lib/liblorac_cuda.so /usr/local/lib/liblorac_cuda.so
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["lorac"]
CMD ["--help"]

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY scripts/setup scripts/setup
RUN scripts/setup --build --clean
COPY . .
RUN cmake --preset release -DLORAC_TESTS=OFF
RUN cmake --build --preset release
RUN cmake --install build/release --prefix /opt/lorac

FROM debian:bookworm-slim
COPY scripts/setup /tmp/scripts/setup
RUN /tmp/scripts/setup --runtime --clean
COPY --from=build /opt/lorac/bin/lorac /usr/local/bin/lorac
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["lorac"]
CMD ["--help"]
