FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bin sluicegate

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/sluicegate /usr/local/bin/sluicegate
USER 65532:65532
STOPSIGNAL SIGTERM
# gRPC, probes and metrics. All listen on loopback until GRPC_ADDR and METRICS_ADDR say otherwise.
EXPOSE 50051 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/sluicegate", "health"]
ENTRYPOINT ["/usr/local/bin/sluicegate"]
