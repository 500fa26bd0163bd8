#!/usr/bin/python3
"""Makes the small PyTorch files beside it (torch 1.13) that the sample collections lack, and prints what
torch.load reads from each."""
import collections, io, os, pickle, struct, zipfile
import torch

os.chdir(os.path.dirname(os.path.abspath(__file__)))
base = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8
content = {"state_dict": collections.OrderedDict(base=base, column=base[:, 1], half=base.half()), "step": 1 << 40,
           "note": "a text", "rate": 0.5}
torch.save(content, "protocol4_zip.pt", pickle_protocol=4)
torch.save(content, "protocol5_legacy.pt", pickle_protocol=5, _use_new_zipfile_serialization=False)
torch.save(content, "plain.pt")


def members(path):
    z = zipfile.ZipFile(path)
    return [(i.filename.replace("plain/", "any name/"), z.read(i)) for i in z.infolist()]


def rezip(path, deflate=lambda name: False, change=lambda name, data: data, extra=()):
    with zipfile.ZipFile(path, "w") as z:
        for name, data in members("plain.pt") + list(extra):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED if deflate(name) else zipfile.ZIP_STORED
            z.writestr(info, change(name, data))


rezip("deflated_pickle.pt", deflate=lambda n: n.endswith(".pkl"))
rezip("deflated_data.pt", deflate=lambda n: "/data/" in n)
rezip("big_endian.pt", extra=[("any name/byteorder", b"big")])
rezip("short_member.pt", change=lambda n, d: d[:-1] if n.endswith("/data/0") else d)


def zip64(path):
    """All sizes and offsets only in the zip64 fields, as in an archive of more than 4 GB."""
    out, central, full = io.BytesIO(), b"", 0xFFFFFFFF
    for name, data in members("plain.pt"):
        name, crc, at = name.encode(), zipfile.crc32(data), out.tell()
        extra = struct.pack("<HHQQ", 1, 16, len(data), len(data))
        out.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 33, crc, full, full, len(name), len(extra)))
        out.write(name + extra + data)
        extra = struct.pack("<HHQQQ", 1, 24, len(data), len(data), at)
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 33, crc, full, full, len(name),
                               len(extra), 0, 0, 0, 0, full) + name + extra
    n, at = len(members("plain.pt")), out.tell()
    out.write(central)
    end = out.tell()
    out.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, n, n, len(central), at))
    out.write(struct.pack("<IIQI", 0x07064B50, 0, end, 1))
    out.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, full, full, 0))
    open(path, "wb").write(out.getvalue())


zip64("zip64.pt")


def legacy_view(path):
    """Two tensors on one view of a storage, as PyTorch 0.x wrote them."""
    size = lambda *v: b"(" + b"".join(b"K" + bytes([x]) for x in v) + b"t"
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()
    storage = (b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("7") + text("cpu") + b"K\x08("
               + text("8") + b"K\x02K\x05ttQ")
    tensor = lambda off, *v: (b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K" + bytes([off]) + size(*v)
                              + size(1) + b"tR")
    obj = b"\x80\x02}(" + text("a") + tensor(0, 5) + text("b") + tensor(3, 2) + b"u."
    parts = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    data = struct.pack("<q8f", 8, *range(10, 18))
    open(path, "wb").write(b"".join(parts) + obj + pickle.dumps(["7"], 2) + data)


legacy_view("legacy_view.pt")

for path in sorted(p for p in os.listdir(".") if p.endswith(".pt")):
    try:
        print(path, os.path.getsize(path), torch.load(path))
    except Exception as e:
        print(path, "refused by torch:", str(e)[:150])
