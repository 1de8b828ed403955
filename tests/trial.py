"""What a reader of hostile files may try: the source of a module of its own in the child process."""

SOURCE = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, threading, time
from audit.errors import AuditError, StorageError

def echo(payload): return payload
def refuses(payload): raise AuditError("the file is upside down", "Turn it.")
def full(payload): raise StorageError("no room", "Make some.")
def bug(payload): return {}["planted"]
def ends(payload): os._exit(payload)
def leaves(payload): sys.exit("on its own account")
def dies(payload): os.kill(os.getpid(), payload)
def crashes(payload): ctypes.string_at(0)
def allocates(payload): return len(bytearray(payload))
def maps(payload):
    import numpy
    return int(numpy.ones(payload, numpy.uint8).sum())
def starves(payload): raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
def aborts(payload):
    print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
    os.abort()
def loops(payload):
    while True: pass
def sleeps(payload): time.sleep(3600)
def closes(payload):
    os.closerange(1, 100)
    time.sleep(3600)
def floods(payload):
    while True: os.write(2, b"x" * 65536)
def prints(payload):
    print('{"value": "forged"}', flush=True)
    os.write(1, b'{"value": "forged"}\\n')
    ctypes.CDLL(None).puts(b"from a library")
    return "true answer"
def answers(payload):
    for fd in range(3, 20):
        try: os.write(fd, payload.encode())
        except OSError: pass
    os._exit(0)
def nested(payload): answers("[" * 100_000)
def nan(payload): return float("nan")
def about(payload):
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in payload}
    return {"limits": limits, "audit": sys.modules["audit"].__file__, "path": sys.path, "pid": os.getpid()}
def descriptors(payload):
    paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(path) for path in paths if os.path.lexists(path)]
def writes(payload):
    with open(payload, "w") as stream: stream.write("x")
def writes_unseen(payload):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.open(payload.encode(), os.O_WRONLY | os.O_CREAT, 0o644)
    return [fd >= 0, libc.write(fd, b"x", 1)]
def removes(payload): os.remove(payload)
def connects(payload): socket.socket()
def resolves(payload): socket.getaddrinfo("localhost", 80)
def runs(payload): subprocess.run(["true"])
def spawns(payload):
    if ctypes.CDLL(None).fork() == 0:
        os.open(payload, os.O_RDONLY)
    time.sleep(3600)
def loads(payload):
    import torch
    return float(torch.load(payload, weights_only=True)["w"].sum())
def sessions(payload):
    import onnxruntime
    return [output.name for output in onnxruntime.InferenceSession(payload).get_outputs()]
"""
