/*
 * The metrics of a job by step, put together from results.csv and metrics events.
 */
export const METRICS = [
    {
        key: "train_loss", chart: "loss", look: "train", short: "Train", long: "Train loss",
            digits: 4,
        inCheckpoint: true,
    },
    { key: "valid_loss", chart: "loss", look: "valid", short: "Valid", long: "Valid loss",
        digits: 4 },
    {
        key: "full_valid_loss", chart: "loss", look: "full", short: "Full valid",
        long: "Full valid loss", digits: 4, inCheckpoint: true,
    },
    {
        key: "train_mean_token_accuracy", chart: "accuracy", look: "train", short: "Train",
        long: "Train accuracy", digits: 3, inCheckpoint: true,
    },
    {
        key: "valid_mean_token_accuracy", chart: "accuracy", look: "valid", short: "Valid",
        long: "Valid accuracy", digits: 3,
    },
    {
        key: "full_valid_mean_token_accuracy", chart: "accuracy", look: "full", short: "Full valid",
        long: "Full valid accuracy", digits: 3, inCheckpoint: true,
    },
];

export class Metrics {
    #byStep = new Map();
    #sorted = null;

    #add(step, values) {
        if (!Number.isFinite(step)) {
            return;
        }
        const row = this.#byStep.get(step) ?? { step };
        for (const { key } of METRICS) {
            if (Number.isFinite(values[key])) {
                row[key] = values[key];
            }
        }
        this.#byStep.set(step, row);
        this.#sorted = null;
    }

    /* Columns by their names; an empty cell is no value; a line not yet whole is left out. */
    addCsv(text) {
        const lines = text.slice(0, text.lastIndexOf("\n")).split("\n");
        const names = lines[0].trim().split(",");
        for (const line of lines.slice(1)) {
            const cells = line.trim().split(",");
            this.#add(Number(cells[0]), Object.fromEntries(names.map((name, i) =>
                [name, cells[i] === "" || cells[i] === undefined ? NaN : Number(cells[i])])));
        }
    }

    addEvents(events) {
        for (const { type, data } of events) {
            if (type === "metrics" && data) {
                this.#add(data.step, data);
            }
        }
    }

    /* Ascending. */
    rows() {
        this.#sorted ??= [...this.#byStep.values()].sort((a, b) => a.step - b.step);
        return this.#sorted;
    }

    lastStep() {
        return this.rows().at(-1)?.step ?? 0;
    }

    /* The step that ended the first epoch, as far as a validation of everything shows it. */
    firstEpochEnd() {
        return this.rows().find((row) => row.full_valid_loss !== undefined)?.step;
    }

    /* At most about `most` rows: all with validation, and every n-th of the others. */
    sample(most) {
        const rows = this.rows();
        const every = Math.max(1, Math.ceil(rows.length / most));
        const kept = rows.filter((row, i) => i % every === 0 || row.valid_loss !== undefined ||
            row.full_valid_loss !== undefined || i === rows.length - 1);
        return { rows: kept, left: rows.length - kept.length };
    }
}
