"""The contract of Azure's fine-tuning API as a table: its sections, and a report on their checks (surface_story.py).
test_surface.py runs them, scripts/azure_compatibility writes the table.
"""

import surface_serving as serving
import surface_training as training
from surface_rows import ABSENT, DIFFERS, WORKS

SECTIONS = [
    ("Addresses, keys and headers", serving.section_access),
    ("Files", training.section_files),
    ("The file object", training.section_file_object),
    ("Uploads in parts", training.section_uploads),
    ("Fine-tuning jobs", training.section_jobs),
    ("What a job may be asked for", training.section_create),
    ("The job object and lists", training.section_job_object),
    ("Events", training.section_events),
    ("Checkpoints and names", training.section_checkpoints),
    ("results.csv", training.section_results),
    ("Training data", training.section_data),
    ("Defaults", training.section_defaults),
    ("Deployments", serving.section_deployments),
    ("Chat", serving.section_chat),
    ("Models", serving.section_models),
    ("Evaluations, batches and what comes after", serving.section_evals),
    ("Errors and limits", serving.section_errors),
]

HEAD = """# Compatibility with Azure's fine-tuning API

What the contract of Azure OpenAI's fine-tuning has, row by row, and what `lorac serve` makes of it. Written by
`scripts/azure_compatibility` from checks on a live server (`tests/e2e/surface.py`); the test `test_surface.py` makes them again
and fails where this table says something else. [openapi.json](openapi.json) describes all that is served.
"""


def cell(text):
    return text.replace("|", "\\|")


def report(story):
    """(the table, the rows whose check has failed)."""
    failures, lines, counts = [], [], {WORKS: 0, DIFFERS: 0, ABSENT: 0}
    for title, section in SECTIONS:
        lines += ["", f"## {title}", "", "| what | here | |", "|---|---|---|"]
        for row in section():
            failure = row.failure(story)
            if failure:
                failures.append(f"{title}: {row.what}: {row.outcome}: {failure}")
            counts[row.outcome] += 1
            lines.append(f"| {cell(row.what)} | {row.outcome} | {cell(row.note)} |")
    total = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return HEAD + f"\n{sum(counts.values())} rows: {total}.\n" + "\n".join(lines) + "\n", failures
