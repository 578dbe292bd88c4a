"""/images, /commit and /distribution, as far as they need no registry."""


def images(t):
    listed = t.call("GET", "/images/json", 200, {"all": 1, "digests": 1}).json()
    t.expect("the built-in image is listed", any("busybox:latest" in (i["RepoTags"] or []) for i in listed), listed)
    if t.since(42):
        t.call("GET", "/images/json", 200, {"shared-size": 1})
    t.call("GET", "/images/json", 200, {"filters": {"reference": ["busybox"]}})
    t.call("GET", "/images/json", 400, {"filters": {"nonsense": ["1"]}})
    shown = t.call("GET", "/images/{name}/json", 200, name="busybox").json()
    t.expect("VirtualSize is shown to older clients only", ("VirtualSize" in shown) == (not t.since(44)), sorted(shown))
    t.call("GET", "/images/{name}/json", 404, name="nobody")
    t.call("GET", "/images/{name}/history", 200, name="busybox")
    t.call("GET", "/images/{name}/history", 404, name="nobody")
    t.call("POST", "/images/{name}/tag", 201, {"repo": "contract/tagged", "tag": "1"}, name="busybox")
    t.call("POST", "/images/{name}/tag", 404, {"repo": "contract/tagged"}, name="nobody")
    t.call("POST", "/images/{name}/tag", 400, {"repo": "BAD"}, name="busybox")
    saved = t.call("GET", "/images/{name}/get", 200, shape=False, name="contract/tagged:1")
    t.call("GET", "/images/{name}/get", 404, name="nobody")
    t.call("GET", "/images/get", 200, {"names": "contract/tagged:1"}, shape=False)
    t.call("GET", "/images/get", 404, {"names": "nobody"})
    removed = t.call("DELETE", "/images/{name}", 200, name="contract/tagged:1").json()
    t.expect("the tag is gone", removed == [{"Untagged": "contract/tagged:1"}], removed)
    t.call("DELETE", "/images/{name}", 404, name="nobody")
    t.call("POST", "/images/load", 200, body=saved.body, headers={"Content-Type": "application/x-tar"})
    t.call("DELETE", "/images/{name}", 200, name="contract/tagged:1")
    t.call("POST", "/images/prune", 200, {"filters": {"dangling": ["true"]}})
    t.call("POST", "/images/prune", 400, {"filters": {"nonsense": ["1"]}})
    # No registry answers at a port of the loopback that nobody listens on.
    t.call("POST", "/images/create", 500, {"fromImage": "127.0.0.1:1/nobody", "tag": "1"})
    t.call("POST", "/images/create", 400, {"fromImage": "BAD"})
    # By then the stream has begun.
    pushed = t.call("POST", "/images/{name}/push", 200, {"tag": "1"}, headers={"X-Registry-Auth": "e30="}, name="nobody")
    t.expect("push tells what is missing", "error" in pushed.documents()[-1], pushed.body)
    t.call("GET", "/images/search", 400, {"term": "x", "filters": {"nonsense": ["1"]}})
    t.call("GET", "/distribution/{name}/json", 500, name="127.0.0.1:1/nobody")
    t.call("POST", "/auth", 500, body={"username": "a", "password": "b", "serveraddress": "127.0.0.1:1"})


def commit(t):
    it = t.container("committed", ["true"], start=False)
    t.call("POST", "/commit", 404, {"container": "nobody"})
    made = t.call("POST", "/commit", 201, {"container": it, "repo": "contract/committed", "comment": "c"}).json()
    t.call("GET", "/images/{name}/json", 200, name=made["Id"])
    t.call("GET", "/images/{name}/history", 200, name="contract/committed")
    t.call("DELETE", "/containers/{id}", 204, id=it)
    t.call("DELETE", "/images/{name}", 200, name="contract/committed")
    used = t.container("user", ["true"], start=False)
    t.call("DELETE", "/images/{name}", 409, name="busybox")
    t.call("DELETE", "/containers/{id}", 204, id=used)


STEPS = [images, commit]
