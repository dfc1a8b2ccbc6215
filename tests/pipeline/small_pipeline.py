"""A pipeline of four stages, for scripts that know none of ours: DVC takes two seconds for each.

`first` comes before `left` and `right`, and `last` after both. `right` has a metric that git keeps.
$LEFT_WAITS and $RIGHT_WAITS are conditions that these two wait for.
"""

PIPELINE = """\
stages:
  first:
    cmd: sh work.sh first
    deps: [work.sh]
    outs: [data/first]
  left:
    cmd: sh work.sh left data/first
    deps: [work.sh, data/first]
    outs: [data/left]
  right:
    cmd: sh work.sh right data/first
    deps: [work.sh, data/first]
    metrics:
      - metrics/right.json:
          cache: false
    outs: [data/right]
  last:
    cmd: sh work.sh last data/left data/right
    deps: [work.sh, data/left, data/right]
    outs: [data/last]
"""
WORK = """\
name=$1; shift
echo "start $name" >> trace
case $name in
  left) until eval "${LEFT_WAITS:-:}"; do sleep 0.2; done ;;
  right) until eval "${RIGHT_WAITS:-:}"; do sleep 0.2; done ;;
esac
mkdir -p data metrics
cat "$@" work.sh > "data/$name"
if [ "$name" = right ]; then echo '{"right": 1}' > metrics/right.json; fi
echo "end $name" >> trace
"""


def install_small_pipeline(project) -> None:
    """Put the small pipeline into a project, in place of its own."""
    (project.root / "dvc.lock").unlink()
    (project.root / "dvc.yaml").write_text(PIPELINE)
    (project.root / "work.sh").write_text(WORK)


def trace(project) -> list[str]:
    """List the starts and ends of stages that ran in the project."""
    file = project.root / "trace"
    return file.read_text().splitlines() if file.exists() else []
