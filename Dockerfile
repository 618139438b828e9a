# The server alone: a static binary, no shell, no root.
#
#   docker build -t sunzi .
#   docker run -p 8080:8080 -v sunzi:/data -e SUNZI_TOKENS_SECRET=... sunzi
#
# What needs another address, file or secret is set by environment or by a file
# that is mounted (--config /data/sunzi.yaml): see sunzi config show --docs.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG RELEASE=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${RELEASE}" -o /out/sunzi ./cmd/sunzi \
 && mkdir -p /empty/data /empty/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/sunzi /sunzi
# The folders that it writes, owned by the user it runs as.
COPY --from=build --chown=65532:65532 /empty/ /
USER 65532:65532
WORKDIR /data
VOLUME /data
ENV SUNZI_DATA=/data SUNZI_LISTEN=0.0.0.0:8080 SUNZI_ADMIN_LISTEN=127.0.0.1:8081
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sunzi"]
CMD ["serve"]
