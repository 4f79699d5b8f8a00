#!/bin/sh
# One pipeline: craft, evaluate as CSV, and fail a CI job when the test error passes a threshold.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
poison attack --fraction 0.14 --learn-lambda --out "$folder/run.h5" --quiet | poison evaluate - --csv
poison evaluate "$folder/run.h5" --fail-above 0.50 > /dev/null
poison export "$folder/run.h5" "$folder/poisoned.csv" --fraction 0.07
