#!/usr/bin/env python3
"""Reads annotation files with Python's json and xml.etree, measures them with shapely, and compares classes, counts and areas with what
`cdunet annotations --json` says; then converts each with --out and reads that again.

Usage: annotations.py CDUNET FILE_OR_FOLDER... Exits 77 where shapely or all files are missing.
"""
import collections
import gzip
import json
import os
import subprocess
import sys
import tempfile
import uuid
import xml.etree.ElementTree as ElementTree

try:
    from shapely.geometry import Polygon
    from shapely.ops import unary_union
    from shapely.validation import make_valid
except ImportError:
    print("shapely is not here (Debian: python3-shapely)")
    sys.exit(77)


def area_of(outline, holes=()):
    """Square pixels in the outline (even-odd) and in no hole."""
    def shape(ring):
        return make_valid(Polygon(ring)) if len(set(ring)) >= 3 else Polygon()
    return shape(outline).difference(unary_union([shape(hole) for hole in holes])).area


def polygons_of(geometry):
    if geometry["type"] == "Polygon":
        return [geometry["coordinates"]]
    if geometry["type"] == "MultiPolygon":
        return geometry["coordinates"]
    if geometry["type"] == "GeometryCollection":
        return [polygon for part in geometry["geometries"] for polygon in polygons_of(part)]
    return []


def read_geojson(text):
    root = json.loads(text)
    features = root if isinstance(root, list) else root["features"] if root["type"] == "FeatureCollection" else [root]
    for feature in features:
        properties = feature.get("properties") or {}
        kind = properties.get("objectType", "annotation" if "Detection" not in feature.get("id", "") else "detection")
        if kind != "annotation":
            continue
        name = properties.get("classification") or properties.get("label") or properties.get("group") or properties.get("name") or ""
        if isinstance(name, dict):
            name = name["name"] if "name" in name else ": ".join(name["names"]) if "names" in name else name["value"]
        area = 0
        for polygon in polygons_of(feature["geometry"]):
            rings = [[tuple(point[:2]) for point in ring] for ring in polygon]
            area += area_of(rings[0], rings[1:])
        if area:
            yield name, area


def catmull_rom(points):
    """A closed centripetal curve through the points, by its cubic in Bezier form with many pieces."""
    curve = []
    count = len(points)
    for i in range(count):
        p0, p1, p2, p3 = (complex(*points[(i + k) % count]) for k in (-1, 0, 1, 2))
        d1, d2, d3 = abs(p1 - p0), abs(p2 - p1), abs(p3 - p2)
        r1, r2, r3 = d1 ** 0.5, d2 ** 0.5, d3 ** 0.5
        b1 = (d1 * p2 - d2 * p0 + (2 * d1 + 3 * r1 * r2 + d2) * p1) / (3 * r1 * (r1 + r2))
        b2 = (d3 * p1 - d2 * p3 + (2 * d3 + 3 * r3 * r2 + d2) * p2) / (3 * r3 * (r3 + r2))
        for step in range(512):
            t = step / 512
            at = (1 - t) ** 3 * p1 + 3 * (1 - t) ** 2 * t * b1 + 3 * (1 - t) * t ** 2 * b2 + t ** 3 * p2
            curve.append((at.real, at.imag))
    return curve


def different(points):
    kept = [p for i, p in enumerate(points) if i == 0 or p != points[i - 1]]
    while len(kept) > 1 and kept[-1] == kept[0]:
        kept.pop()
    return kept


def read_asap(root):
    for item in root.find("Annotations"):
        kind = item.get("Type")
        if kind not in ("Polygon", "Spline", "Rectangle"):
            continue
        corners = sorted(item.iter("Coordinate"), key=lambda c: float(c.get("Order")))
        points = different([(float(c.get("X")), float(c.get("Y"))) for c in corners])
        if kind == "Rectangle" and len(points) == 2:
            (x0, y0), (x1, y1) = points
            points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        if len(points) < 3:
            continue
        name = item.get("PartOfGroup") if item.get("PartOfGroup") not in (None, "", "None") else item.get("Name")
        if name.startswith("Annotation ") and name[11:].isdigit():
            name = ""
        yield name, area_of(catmull_rom(points) if kind == "Spline" else points)


def read_imagescope(root):
    for layer in root.findall("Annotation"):
        value = int(layer.get("LineColor"))
        color = "#%02x%02x%02x" % (value & 255, value >> 8 & 255, value >> 16 & 255)
        descriptions = [a.get("Value") for a in layer.findall("Attributes/Attribute") if a.get("Name") == "Description"]
        positive, holes = [], []
        for region in layer.iter("Region"):
            if region.get("Type") not in ("0", "1", "Polygon", "Rectangle"):
                continue
            points = [(float(v.get("X")), float(v.get("Y"))) for v in list(region.find("Vertices"))]
            if region.get("Type") in ("1", "Rectangle") and len(points) == 2:
                (x0, y0), (x1, y1) = points
                points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
            if region.get("NegativeROA") == "1":
                holes.append(points)
            else:
                positive.append((region.get("Text") or "", points))
        for text, points in positive:
            words = [layer.get("Name") or "", *descriptions, text, color]
            yield next(word for word in words if word), area_of(points, holes)


def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        text = file.read()
    if text.lstrip()[:1] != b"<":
        return list(read_geojson(text))
    root = ElementTree.fromstring(text)
    return list(read_asap(root) if root.tag == "ASAP_Annotations" else read_imagescope(root))


def gather(items):
    """{class: (count, area)}"""
    found = collections.defaultdict(lambda: (0, 0.0))
    for name, area in items:
        found[name] = (found[name][0] + 1, found[name][1] + area)
    return dict(found)


def ours(cdunet, path, *more):
    result = subprocess.run([cdunet, "--quiet", "annotations", path, "--json", *more], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    rows = json.loads(result.stdout)[0]["classes"]
    found = collections.defaultdict(lambda: (0, 0.0))
    for row in rows:
        count, area = found[row["class"]]
        found[row["class"]] = (count + row["count"], area + row["area_px"])
    return dict(found)


def differences(expected, found, tolerance):
    words = []
    for name in sorted(set(expected) | set(found)):
        (count, area), (our_count, our_area) = expected.get(name, (0, 0)), found.get(name, (0, 0))
        if count != our_count or abs(area - our_area) > tolerance * max(area, 1):
            words.append(f"class '{name}': {count} of {area:.2f} px, but cdunet says {our_count} of {our_area:.2f}")
    return words


def check(cdunet, path, folder):
    expected = gather(read(path))
    out = os.path.join(folder, "out.geojson")
    with open(path, "rb") as file:
        tolerance = 2e-4 if b"Spline" in file.read() else 1e-5 # curves are broken into pieces
    words = differences(expected, ours(cdunet, path, "--out", out), tolerance)
    with open(out, encoding="utf-8") as file:
        written = json.load(file)
    ids = [uuid.UUID(feature["id"]) for feature in written["features"]]
    if len(set(ids)) != len(ids):
        words.append("the ids of the converted file are not all different")
    for feature in written["features"]:
        classification = feature["properties"].get("classification")
        if feature["properties"]["objectType"] != "annotation" or (classification is not None and set(classification) != {"name", "color"}):
            words.append(f"the converted file has a feature that QuPath refuses: {feature['properties']}")
    # coordinates are written to a hundredth of a pixel
    words += ["converted: " + word for word in differences(expected, gather(read(out)), 2e-3)]
    for word in words:
        print(f"{path}: {word}")
    return not words


def main():
    cdunet, places = sys.argv[1], sys.argv[2:]
    files = []
    for place in places:
        if os.path.isfile(place):
            files.append(place)
        for folder, _, names in os.walk(place):
            files += [os.path.join(folder, name) for name in names if name.endswith((".xml", "json", ".geojson.gz"))]
    if not files:
        print("no annotation files are here")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        good = [check(cdunet, path, folder) for path in sorted(files)]
    # the comparison itself must see a wrong count and a wrong area
    if not differences({"a": (2, 100.0)}, {"a": (3, 100.0)}, 1e-5) or not differences({"a": (2, 100.0)}, {"a": (2, 100.1)}, 1e-5):
        print("the comparison is blind")
        sys.exit(1)
    print(f"{sum(good)} of {len(files)} files agree")
    sys.exit(0 if all(good) else 1)


main()
