#!/bin/sh
# Print the state of the job whose number the command that submitted it has printed.
case "$(scontrol show job -o "$1" | grep -o 'JobState=[A-Z_]*')" in
  *=COMPLETED) echo success ;;
  *=PENDING | *=RUNNING | *=COMPLETING | *=CONFIGURING | *=SUSPENDED) echo running ;;
  *) echo failed ;;
esac
