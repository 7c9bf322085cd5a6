/*
 * One job: what it is, how it goes, what it has left behind, and what can be done with it.
 */
import { api, ApiError, download, poll } from "./api.js";
import { lineChart } from "./chart.js";
import { openCreate } from "./create.js";
import { deploymentName, openDeploy } from "./deployments.js";
import {
    agoText, announce, badge, busy, bytes, clockText, confirmLoss, copyable, dateText, fixed, h,
    number, reconcile, saidIn, setAttribute, setBadge, setText,
} from "./dom.js";
import { isActive, jobTitle, methodText, progressBar, progressOf, setProgress } from "./jobs.js";
import { METRICS, Metrics } from "./metrics.js";

const EVENT_PAGE = 50;
const ENDED = ["succeeded", "failed", "cancelled"];

// ---- buttons ----

/* Which states each button works in; elsewhere it is off and says why. */
const ACTIONS = [
    {
        name: "deploy", label: "Deploy", states: ["succeeded"], why: "The job has no model yet.",
        usesModel: true,
    },
    {
        name: "continue", label: "Continue fine-tuning", states: ["succeeded"],
        why: "The job has no model yet.", usesModel: true,
    },
    { name: "pause", label: "Pause", states: ["running"],
        why: "Only a running job can be paused." },
    { name: "resume", label: "Resume", states: ["paused"],
        why: "Only a paused job can be resumed." },
    {
        name: "cancel", label: "Cancel",
        states: ["pending", "running", "pausing", "paused", "resuming"], why: "The job has ended.",
    },
    {
        name: "delete", label: "Delete", states: [...ENDED, "paused"],
        why: "A job that runs cannot be deleted: cancel it first.",
    },
];

// ---- the parts of the page ----

function factsList() {
    const node = h("dl", { class: "facts" });
    const shown = new Map();
    return {
        node,
        /* [[name, text, node or null], ...]: a node is made anew only when its text changes. */
        update(facts) {
            for (const [name, text, make] of facts) {
                if (!shown.has(name)) {
                    const value = h("dd");
                    node.append(h("dt", null, name), value);
                    shown.set(name, { value, text: null });
                }
                const entry = shown.get(name);
                if (entry.text !== text) {
                    entry.text = text;
                    entry.value.replaceChildren(make ? make() : text);
                }
            }
        },
    };
}

function hyperparameter(job, name) {
    const settings = job.method?.[job.method.type]?.hyperparameters ?? job.hyperparameters ?? {};
    const value = settings[name] ?? job.hyperparameters?.[name];
    return value === undefined || value === null || value === -1 || value === "auto" ? "auto"
        : String(value);
}

function fileFact(id, names) {
    if (!id) {
        return ["\u2013", null];
    }
    return [`${id} ${names.get(id) ?? ""}`, () => h("div", { class: "file-fact" },
        names.has(id) ? h("a", { href: "#/files" }, names.get(id)) : null, copyable(id))];
}

/* names: of files by id. deployed: names of the deployments of its model. */
function factsOf(job, names, deployed) {
    const code = (text) => (text ? [text, () => copyable(text)] : ["\u2013", null]);
    const metadata = Object.entries(job.metadata ?? {}).map(([key, value]) => `${key}: ${value}`)
        .join("\n");
    const integrations = (job.integrations ?? []).map((one) =>
        `${one.type}${one.wandb?.project ? `: ${one.wandb.project}` : ""}`).join(", ");
    const ends = job.finished_at ? dateText(job.finished_at)
        : job.estimated_finish ? `expected ${dateText(job.estimated_finish)}` : "\u2013";
    return [
        ["Id", ...code(job.id)],
        ["Base model", ...code(job.model)],
        ["Fine-tuned model", ...code(job.fine_tuned_model)],
        ["Deployed as", deployed.join(", ") || "\u2013", () => h("span", null,
            deployed.length === 0 ? "\u2013" : deployed.map((name) => h("a", {
                class: "listed", href: `#/playground/${encodeURIComponent(name)}`,
            }, name)))],
        ["Method", methodText(job)],
        ["Training type", job.trainingType || "\u2013"],
        ["Suffix", job.suffix || "\u2013"],
        ["Seed", String(job.seed ?? "\u2013")],
        ["Epochs", hyperparameter(job, "n_epochs")],
        ["Batch size", hyperparameter(job, "batch_size")],
        ["Learning rate multiplier", hyperparameter(job, "learning_rate_multiplier")],
        ["Created", dateText(job.created_at)],
        ["Finished", ends],
        ["Trained tokens", number(job.trained_tokens)],
        ["Training file", ...fileFact(job.training_file, names)],
        ["Validation file", ...fileFact(job.validation_file, names)],
        ["Result file", ...fileFact(job.result_files?.[0], names)],
        ["Metadata", metadata || "\u2013"],
        ["Integrations", integrations || "\u2013"],
    ];
}

function metricsTable(caption) {
    const body = h("tbody");
    const note = h("p", { class: "hint" });
    const details = h("details", { class: "as-table" }, h("summary", null, "Values as a table"),
        note,
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
            h("table", { class: "numbers" }, h("caption", { class: "sr" }, caption),
                h("thead", null, h("tr", null, h("th", { scope: "col" }, "Step"),
                    METRICS.map(({ long }) => h("th", { scope: "col" }, long)))), body)));
    let metrics = null;

    function fill() {
        if (!details.open || metrics === null) {
            return;
        }
        const { rows, left } = metrics.sample(400);
        setText(note, left === 0 ? ""
            : `${number(left)} steps without validation are left out; results.csv has all.`);
        reconcile(body, rows, (row) => row.step,
            () => h("tr", null, h("th", { scope: "row" }), METRICS.map(() => h("td"))),
            (node, row) => [row.step, ...METRICS.map(({ key, digits }) => fixed(row[key], digits))]
                .forEach((text, i) => setText(node.children[i], text)));
    }

    details.addEventListener("toggle", fill);
    return {
        node: details,
        update(now) {
            metrics = now;
            fill();
        },
    };
}

const CHECKPOINT_METRICS = METRICS.filter(({ inCheckpoint }) => inCheckpoint);

function makeCheckpoint(checkpoint) {
    const name = checkpoint.fine_tuned_model_checkpoint;
    const value = ({ key, digits }) => fixed(checkpoint.metrics?.[key], digits);
    const losses = CHECKPOINT_METRICS.filter(({ chart }) => chart === "loss");
    return h("tr", null,
        h("th", { scope: "row" },
            h("span", { class: "row-title" }, `Step ${number(checkpoint.step_number)}`),
            h("span", { class: "row-sub" }, copyable(name)),
            losses.map((metric) => h("span", { class: "row-sub narrow-only" },
                `${metric.long} ${value(metric)}`))),
        CHECKPOINT_METRICS.map((metric) => h("td", { class: "wide-only" }, value(metric))),
        h("td", { class: "row-actions" },
            h("button", {
                type: "button", class: "small-button",
                    "aria-label": `Deploy step ${checkpoint.step_number}`,
                onclick: () => openDeploy(name),
            }, "Deploy"),
            h("button", {
                type: "button", class: "small-button quiet",
                "aria-label": `Continue fine-tuning from step ${checkpoint.step_number}`,
                onclick: () => openCreate({ model: name }),
            }, "Continue")));
}

function checkpointPanel() {
    const body = h("tbody");
    const empty = h("p", { class: "muted pad" }, "One is kept at the end of each epoch.");
    const table = h("table", { class: "checkpoints" },
        h("caption", { class: "sr" }, "Checkpoints, newest first"),
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "Checkpoint"),
            CHECKPOINT_METRICS.map(({ long }) =>
                h("th", { scope: "col", class: "wide-only" }, long)),
            h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")))), body);
    const node = h("section", { class: "panel table-panel", "aria-labelledby": "h-checkpoints" },
        h("h2", { id: "h-checkpoints" }, "Checkpoints"), empty, table);
    return {
        node,
        update(checkpoints) {
            empty.hidden = checkpoints.length > 0;
            table.hidden = checkpoints.length === 0;
            reconcile(body, checkpoints, (one) => one.id, makeCheckpoint);
        },
    };
}

/* Newest first; older ones by button. fetchPage(after) gives a page of the API. */
function eventPanel(fetchPage) {
    const list = h("ol", { class: "events" });
    const older = h("button",
        { type: "button", hidden: true, onclick: () => busy(older, loadOlder) },
        "Show older events");
    const toggle = h("input", { type: "checkbox", id: "show-metrics", checked: true });
    const empty = h("p", { class: "muted pad" }, "Nothing has happened yet.");
    const node = h("section", { class: "panel", "aria-labelledby": "h-events" },
        h("div", { class: "panel-head" }, h("h2", { id: "h-events" }, "Events"),
            h("label", { class: "check", for: "show-metrics" }, toggle, "Metrics")),
        empty, h("div", {
            class: "events-scroll", tabindex: "0", role: "region",
                "aria-label": "Events, newest first",
        }, list, h("div", { class: "more" }, older)));
    let events = [], hasMore = false;

    function show() {
        const shown = toggle.checked ? events : events.filter((event) => event.type !== "metrics");
        empty.hidden = events.length > 0;
        older.hidden = !hasMore;
        reconcile(list, shown, (event) => event.id, (event) =>
            h("li", { class: `event ${event.level} ${event.type}` },
                h("time", {
                    datetime: new Date(event.created_at * 1000).toISOString(),
                    title: dateText(event.created_at),
                }, clockText(event.created_at)),
                h("span", { class: "event-text" },
                    event.level === "info" ? null : h("b", null, `${event.level}: `),
                        event.message)));
    }

    async function loadOlder() {
        const page = await fetchPage(events.at(-1).id);
        events = [...events, ...page.data];
        hasMore = page.has_more;
        show();
    }

    toggle.addEventListener("change", show);
    return {
        node,
        /* The newest page. Returns the new events, or null when some between are missing. */
        add(page) {
            const known = new Set(events.map((event) => event.id));
            const fresh = page.data.filter((event) => !known.has(event.id));
            const hasGap = events.length > 0 && fresh.length > 0 &&
                fresh.length === page.data.length;
            if (events.length === 0 || hasGap) {
                events = page.data;
                hasMore = page.has_more;
            } else {
                events = [...fresh, ...events];
            }
            show();
            return hasGap ? null : fresh;
        },
    };
}

function filePanel(names) {
    const list = h("ul", { class: "job-files" });
    const node = h("section", { class: "panel", "aria-labelledby": "h-files" },
        h("h2", { id: "h-files" }, "Files"), list);

    function makeItem({ id, kind }) {
        const button = h("button", {
            type: "button", class: "small-button", onclick: () => busy(button, () =>
                download(id, names.get(id) ?? id)),
        }, "Download");
        const name = h("b"), size = h("span", { class: "muted small" });
        const item = h("li", null,
            h("div", null, h("span", { class: "muted small" }, kind), name, size), button);
        item.parts = { button, name, size };
        return item;
    }

    return {
        node,
        update(job, sizes) {
            const files = [
                { id: job.result_files?.[0], kind: "Metrics of every step" },
                { id: job.training_file, kind: "Training data" },
                { id: job.validation_file, kind: "Validation data" },
            ].filter(({ id }) => id);
            reconcile(list, files, ({ id, kind }) => `${kind} ${id}`, makeItem, (item, { id }) => {
                const isGone = names.has(id) && sizes.get(id) === undefined;
                setText(item.parts.name, names.get(id) ?? id);
                setText(item.parts.size, isGone ? "" : bytes(sizes.get(id)));
                setAttribute(item.parts.button, "aria-label", `Download ${names.get(id) ?? id}`);
                item.parts.button.hidden = isGone;
            });
        },
    };
}

// ---- the page ----

export function jobPage(main, id) {
    const names = new Map(), sizes = new Map(); // of the job's files
    const metrics = new Metrics();
    const title = h("h1", { tabindex: "-1" }, "Job");
    const status = badge();
    const bar = progressBar();
    const progressText = h("span", { class: "muted" });
    const failure = h("div", { class: "callout bad", hidden: true });
    const buttons = new Map(ACTIONS.map((action) => [action.name, h("button", {
        type: "button", disabled: true, onclick: () => act(action.name),
        class: action.name === "delete" || action.name === "cancel" ? "danger-quiet" : null,
    }, action.label)]));
    const charts = ["loss", "accuracy"].map((kind) => lineChart({
        title: kind === "loss" ? "Loss" : "Token accuracy",
        series: METRICS.filter((metric) => metric.chart === kind)
            .map(({ key, short, look }) => ({ key, label: short, kind: look })),
        digits: kind === "loss" ? 4 : 3,
        limits: kind === "loss" ? null : [0, 1],
        onCursor: (step) => charts.forEach((chart) => chart.setCursor(step)),
    }));
    const table = metricsTable("Metrics by step");
    const facts = factsList();
    const checkpoints = checkpointPanel();
    const events = eventPanel((after) => api.events(id, { limit: EVENT_PAGE, after }));
    const files = filePanel(names);
    const content = h("div", { hidden: true },
        failure,
        h("section", { class: "panel charts-panel", "aria-label": "Metrics" },
            h("div", { class: "charts" }, charts.map((chart) => chart.node)), table.node),
        h("div", { class: "columns" },
            h("div", { class: "column" }, checkpoints.node, events.node),
            h("div", { class: "column" },
                h("section", { class: "panel", "aria-labelledby": "h-details" },
                    h("h2", { id: "h-details" }, "Details"), facts.node), files.node)));
    const loading = h("p", { class: "muted" }, "Loading\u2026");
    main.replaceChildren(
        h("nav", { class: "crumbs", "aria-label": "Breadcrumb" },
            h("a", { href: "#/jobs" }, "Jobs"),
            h("span", { "aria-hidden": "true" }, "/"), h("code", null, id)),
        h("div", { class: "page-head job-head" },
            h("div", { class: "job-title" }, title, status),
            h("div", { class: "toolbar", role: "group", "aria-label": "Job actions" },
                [...buttons.values()])),
        h("div", { class: "job-progress-line" }, bar, progressText), loading, content);
    let job = null, csvOf = "", stepsAnEpoch = 0, deployed = [], isModelGone = false;

    const actions = {
        deploy: () => openDeploy(job.fine_tuned_model),
        continue: () => openCreate({ model: job.fine_tuned_model }),
        pause: () => change("pause"),
        resume: () => change("resume"),
        cancel: () => confirmLoss({
            title: "Cancel this job?",
            text: "It stops for good: it cannot be resumed, and makes no model. Checkpoints of " +
                "epochs that have ended stay. To go on later, pause it instead.",
            verb: "Cancel the job", task: () => change("cancel"),
        }),
        delete: () => confirmLoss({
            title: "Delete this job?",
            text: "Its events, metrics and checkpoints are removed for good. The model, if it " +
                "made one, stays.",
            verb: "Delete the job",
            task: async () => {
                await api.deleteJob(id);
                announce("Job deleted");
                location.hash = "#/jobs";
            },
        }),
    };

    async function change(verb) {
        show(await api.jobAction(id, verb));
        poller.now();
    }

    function act(name) {
        if (name === "pause" || name === "resume") {
            busy(buttons.get(name), actions[name]).then(() => job && showButtons());
        } else {
            actions[name]();
        }
    }

    function showButtons() {
        for (const action of ACTIONS) {
            const button = buttons.get(action.name);
            const isGone = action.usesModel && isModelGone;
            const isOn = action.states.includes(job.status) && !isGone;
            button.disabled = !isOn;
            setAttribute(button, "title",
                isOn ? null : isGone ? "The job's model has been deleted." : action.why);
            setAttribute(button, "class", action.name === "deploy" && isOn ? "primary"
                : action.name === "delete" || action.name === "cancel" ? "danger-quiet" : "");
        }
        buttons.get("resume").hidden = !["paused", "pausing", "resuming"].includes(job.status);
        buttons.get("pause").hidden = !buttons.get("resume").hidden;
    }

    /* With validation data the first epoch's end shows how many steps an epoch has. (Checkpoints do
     * not: a pause makes one too, and old ones go.) */
    function showProgress() {
        const progress = progressOf(job);
        const epochs = Number(hyperparameter(job, "n_epochs"));
        const step = metrics.lastStep();
        const total = stepsAnEpoch * epochs;
        const parts = [];
        let { share } = progress;
        if (step > 0 && job.status !== "succeeded") {
            const isKnown = total > 0 && step <= total;
            parts.push(`Step ${number(step)}${isKnown ? ` of ${number(total)}` : ""}`);
            if (isKnown) {
                parts.push(`epoch ${Math.ceil(step / stepsAnEpoch)} of ${epochs}`);
                share = step / total;
            }
        }
        if (job.status !== "failed" && progress.text !== "") {
            parts.push(progress.text);
        }
        parts.push(job.finished_at ? `ended ${agoText(job.finished_at)}`
            : `created ${agoText(job.created_at)}`);
        setProgress(bar, job, ENDED.includes(job.status) ? null : share);
        setText(progressText, parts.join(" \u00b7 "));
    }

    function show(now) {
        if (job !== null && job.status !== now.status) {
            announce(`${jobTitle(now)}: ${now.status}`);
        }
        job = now;
        loading.hidden = true;
        content.hidden = false;
        setText(title, jobTitle(job));
        document.title = `${jobTitle(job)} \u00b7 lorac`;
        setBadge(status, job.status);
        showButtons();
        showProgress();
        failure.hidden = !job.error?.message;
        if (!failure.hidden) {
            const { message, param } = job.error;
            setText(failure, param ? `${message} (${param})` : message);
        }
        facts.update(factsOf(job, names, deployed));
        files.update(job, sizes);
    }

    /* Names and sizes of the job's files; one that has been deleted keeps its id. */
    async function loadFiles(abort) {
        const wanted = [job.training_file, job.validation_file, job.result_files?.[0]]
            .filter((file) => file && !names.has(file));
        for (const file of wanted) {
            try {
                const object = await api.file(file, abort);
                names.set(file, object.filename);
                sizes.set(file, object.bytes);
            } catch (error) {
                if (!(error instanceof ApiError) || error.status !== 404) {
                    throw error;
                }
                names.set(file, "deleted file");
                sizes.set(file, undefined);
            }
        }
    }

    async function loadModel(abort) {
        if (job.fine_tuned_model) {
            const [{ data }, models] = await Promise.all([
                api.deployments(abort), api.models(abort)]);
            deployed = data.filter((one) => one.model === job.fine_tuned_model).map(deploymentName);
            isModelGone = !models.data.some((one) => one.id === job.fine_tuned_model);
        }
    }

    /* All steps so far, once; later ones come as events. At the end once more: it is complete. */
    async function loadResults(abort) {
        const file = job.result_files?.[0];
        const wanted = file ? `${file} ${ENDED.includes(job.status)}` : "";
        if (wanted !== "" && wanted !== csvOf) {
            try {
                const text = await (await api.fileContent(file, abort)).text();
                metrics.addCsv(text);
                sizes.set(file, text.length);
            } catch (error) {
                if (!(error instanceof ApiError) || error.status >= 500) {
                    throw error;
                }
            }
            csvOf = wanted;
        }
    }

    const poller = poll(async (abort) => {
        show(await api.job(id, abort));
        const [page, points] = await Promise.all([
            api.events(id, { limit: EVENT_PAGE }, abort), api.checkpoints(id, abort),
            loadFiles(abort), loadModel(abort),
        ]);
        const fresh = events.add(page);
        if (fresh === null) {
            csvOf = "";
        }
        await loadResults(abort);
        metrics.addEvents(fresh ?? page.data);
        checkpoints.update(points.data);
        stepsAnEpoch = metrics.firstEpochEnd() ?? 0;
        charts.forEach((chart) => chart.update(metrics.rows()));
        table.update(metrics);
        show(job);
        return isActive(job) ? (job.status === "pending" ? 2000 : 1200) : 15000;
    }, saidIn(loading));
    return poller.stop;
}
