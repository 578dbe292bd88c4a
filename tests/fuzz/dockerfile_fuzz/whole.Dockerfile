# syntax=docker/dockerfile:1
# escape=\
ARG v=1
FROM --platform=$BUILDPLATFORM busybox:${v:-2} AS one
RUN --mount=type=cache,target=/c,id=i --network=none <<E1 cat <<-"E2"
a $v ${v##*/} ${v//a/b}
E1
	b
	E2
COPY --from=one --chown=1:2 --exclude=**/*.o --parents ["a b", "/c d/"]
HEALTHCHECK --interval=5s CMD ["x"]
ONBUILD RUN x \
  # comment
  y
