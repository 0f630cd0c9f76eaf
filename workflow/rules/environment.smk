# What jobs inherit from the process of Snakemake: where attnlag is, and how programs print and
# take memory.

os.environ.update(
    # Name of attnlag's folder in the shells of jobs.
    ATTNLAG="." if Path.cwd().samefile(FOLDER) else str(FOLDER),
    # Jobs use the interpreter that runs Snakemake, whether or not its environment is activated.
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
)

# A terminal or a file in another encoding than UTF-8 gets what it has no character for as \u….
for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")

# In a log file, a progress bar that is updated ten times a second is a very long line.
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_MININTERVAL", "30")

# Passes over a model free and take large arrays again and again. Without these limits, glibc gives
# their pages back to the system, which then has to clear others.
for limit in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
    os.environ.setdefault(limit, str(2**31 - 1))
