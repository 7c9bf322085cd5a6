# lora.c on the CPU: a slim image with the `lorac` program, run as a user without rights.
#   docker build -t lorac .
#   docker run --rm -v "$PWD:/work" lorac train job.json --out runs/mine
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
