"""The gallery's last section: how to bring the picks into each tool."""

import shlex
from html import escape

from zeroshot_al.gallery._parts import code_block
from zeroshot_al.gallery.overview import Overview

TRAIN = (
    "<h3>And then</h3>"
    "<p>A classifier from the labels, out of <code>order.csv</code> with a column "
    "<code>label</code> added, or out of Label Studio's export:</p>"
    + code_block("make train LABELS=/path/to/labels.csv")
)


def import_section(view: Overview) -> str:
    if not view.folder:
        return (
            "<p>The pool's images have no files of their own, so the tools have nothing to open. "
            "The files name the images by their ids; set <code>write_images: true</code> in "
            "section <code>annotate</code> of params.yaml to get the picks as PNG files.</p>"
        )
    folder, root = shlex.quote(view.folder), shlex.quote(view.document_root)
    back = shlex.quote("data/annotate")
    if not view.document_root.startswith("/"):
        root = f'"$PWD"/{root}'
    zipped = f'here="$PWD"; (cd {folder} && zip -q -0 "$here/picks.zip" -@) < {back}/list.txt'
    return (
        "<p>Tools like to sort by file name. These files keep the order of annotation. Run the "
        "commands in the project's folder.</p>"
        "<h3>Label Studio</h3>"
        + code_block(
            "export LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true\n"
            f"export LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}\n"
            "label-studio start"
        )
        + "<ol><li>Create a project; paste <code>label_studio_config.xml</code>, with your "
        "classes, as its labelling interface.</li>"
        f"<li>Add a cloud storage of the type Local files with the path <code>{escape(view.folder)}"
        "</code> (as an absolute path); do not sync it.</li>"
        "<li>Import <code>label_studio.json</code>. Tasks get their numbers in this order; sort "
        "by <code>rank</code> to have it back at any time.</li></ol>"
        "<h3>CVAT</h3>"
        + code_block(
            f"{zipped}\n"
            "cvat-cli task create 'label first' --labels '[{\"name\": \"first class\"}]' \\\n"
            f"  --sorting-method predefined local picks.zip {back}/manifest.jsonl"
        )
        + "<p>In the browser: choose both files, and Predefined as the sorting method under "
        "Advanced configuration.</p>"
        "<h3>FiftyOne</h3>"
        + code_block(
            "import fiftyone as fo\n"
            f'dataset = fo.Dataset.from_json("data/annotate/fiftyone.json", '
            f"rel_dir={view.folder!r})\n"
            'session = fo.launch_app(dataset.sort_by("rank"))'
        )
        + "<h3>Anything else</h3>"
        "<p><code>list.txt</code> has one file a line, <code>order.csv</code> all that is known of "
        "each. For the first 500: <code>head -n 500 data/annotate/list.txt</code></p>"
        + (TRAIN if view.awaits_labels else "")
    )
