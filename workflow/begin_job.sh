# What every job's shell begins with: how it runs a program, of this folder wherever the job is.
#
# In the background, where Ctrl-C does not reach it: it is told to stop as a scheduler tells it,
# and ends without a traceback even while it is still importing. And a program that was killed
# can say nothing itself, so that its shell says it; nor can one that a library ends with status 1.

# In a file, a bar that moves ten times a second is a very long line.
[ -t 2 ] || export TQDM_MININTERVAL=30
attnlag=${BASH_SOURCE[0]%workflow/begin_job.sh}
python3() {
    local began child status
    began=${EPOCHREALTIME/,/.}
    # The program writes nothing once this shell is gone.
    ATTNLAG_SHELL=$$ ATTNLAG_BEGAN=$began command python3 "$attnlag$@" &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null' INT TERM
    # A signal to the shell ends the waiting, not the program. What the shell itself would say of
    # a killed one is its whole command.
    while :; do
        { wait "$child" && status=0 || status=$?; } 2>/dev/null
        kill -0 "$child" 2>/dev/null || break
    done
    trap - INT TERM
    case $status in
        129 | 130 | 141 | 143) ;; # told to stop, or nobody reads what it says
        1 | 12[89] | 1[3-9]?)
            ATTNLAG_BEGAN=$began command python3 "${attnlag}scripts/explain_kill.py" \
                "$status" "$@" || :
            ;;
    esac
    return "$status"
}
