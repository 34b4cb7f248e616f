# An image with only the gateway: a static program and CA certificates, no shell.
# It runs as any user and needs no writable file system. Environment variables
# configure it (docs/CONFIGURATION.md).
#
# BUILDER is an image that has Go and /etc/ssl/certs/ca-certificates.crt.
ARG BUILDER=docker.io/library/golang:1.26

FROM ${BUILDER} AS build
ARG GOPROXY
ENV CGO_ENABLED=0
WORKDIR /src
COPY go.mod go.sum ./
RUN ["go", "mod", "download"]
COPY . .
RUN ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "/out/ssegw", "./cmd/ssegw"]

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ssegw /ssegw
USER 65532:65532
EXPOSE 9000 9001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/ssegw", "health"]
ENTRYPOINT ["/ssegw"]
