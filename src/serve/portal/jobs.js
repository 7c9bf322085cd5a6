/*
 * The list of jobs, live, and what the other pages say about a job: its title, its progress.
 */
import { api, poll } from "./api.js";
import { openCreate } from "./create.js";
import {
    badge, busy, duration, h, reconcile, saidIn, setAttribute, setBadge, setText, setTime, timeNode,
} from "./dom.js";

const PAGE = 50;
const ACTIVE = ["pending", "running", "pausing", "resuming", "queued", "validating_files"];

export function isActive(job) {
    return ACTIVE.includes(job.status);
}

/* What people call it: its suffix, else the beginning of its id. */
export function jobTitle(job) {
    return job.suffix || `Job ${job.id.replace(/^ftjob-/, "").slice(0, 8)}`;
}

const METHODS = {
    supervised: "Supervised", dpo: "Preference (DPO)", reinforcement: "Reinforcement",
};

export function methodText(job) {
    const type = job.method?.type ?? "supervised";
    return METHODS[type] ?? type;
}

/* { share: 0 to 1 or null (unknown), text } from what the API tells: how long it has run and when
 * it expects to end. */
export function progressOf(job) {
    const now = Date.now() / 1000;
    if (job.status === "succeeded") {
        return { share: 1, text: `took ${duration(job.finished_at - job.created_at)}` };
    }
    if (job.status === "failed") {
        return { share: null, text: job.error?.message ?? "" };
    }
    if (job.status === "running" && job.estimated_finish) {
        const left = Math.max(0, job.estimated_finish - now);
        const share = (now - job.created_at) / (now - job.created_at + left);
        return {
            share: Math.max(0, Math.min(0.99, share)),
            text: left < 2 ? "about to finish" : `about ${duration(left)} left`,
        };
    }
    return { share: null, text: job.status === "pending" ? "waiting its turn" : "" };
}

export function progressBar() {
    return h("progress", { max: "1", class: "job-progress" });
}

/* An active job without a known share shows that something goes on. */
export function setProgress(bar, job, share) {
    const isRunning = isActive(job) && job.status !== "pending";
    bar.hidden = share === null && !isRunning;
    setAttribute(bar, "aria-label", "Progress");
    if (share === null) {
        bar.removeAttribute("value");
    } else {
        bar.value = share;
    }
}

function makeRow(job) {
    const parts = {
        title: h("a", { class: "row-title", href: `#/jobs/${encodeURIComponent(job.id)}` }),
        model: h("code", { class: "row-sub" }), base: h("td", { class: "wide-only" }),
        more: h("span", { class: "row-sub narrow-only" }),
        method: h("td", { class: "wide-only" }), status: badge(), bar: progressBar(),
        progress: h("span", { class: "muted small" }), created: timeNode(),
    };
    const row = h("tr", null,
        h("th", { scope: "row" }, parts.title, parts.model, parts.more), parts.base, parts.method,
        h("td", null, parts.status),
        h("td", { class: "progress-cell" }, parts.bar, parts.progress),
        h("td", { class: "wide-only nowrap" }, parts.created));
    row.parts = parts;
    return row;
}

function updateRow(row, job) {
    const { parts } = row;
    const progress = progressOf(job);
    setText(parts.title, jobTitle(job));
    setText(parts.model, job.fine_tuned_model ?? job.id);
    setText(parts.base, job.model);
    setText(parts.more, `${job.model} \u00b7 ${methodText(job)}`);
    setText(parts.method, methodText(job));
    setBadge(parts.status, job.status);
    setProgress(parts.bar, job, job.status === "succeeded" ? null : progress.share);
    setText(parts.progress, progress.text);
    setTime(parts.created, job.created_at);
}

function emptyState() {
    return h("div", { class: "empty" },
        h("h2", null, "No jobs yet"),
        h("p", null, "Upload conversations, choose a model, and chat with what it has learned."),
        h("button", { type: "button", class: "primary", onclick: () => openCreate() },
            "Create the first job"));
}

export function jobsPage(main) {
    const body = h("tbody");
    const table = h("div", { class: "panel table-panel", hidden: true },
        h("table", { class: "jobs-table" },
            h("caption", { class: "sr" }, "Fine-tuning jobs, newest first"),
            h("thead", null, h("tr", null, h("th", { scope: "col" }, "Job"),
                h("th", { scope: "col", class: "wide-only" }, "Base model"),
                h("th", { scope: "col", class: "wide-only" }, "Method"),
                h("th", { scope: "col" }, "Status"), h("th", { scope: "col" }, "Progress"),
                h("th", { scope: "col", class: "wide-only" }, "Created"))), body));
    const loading = h("p", { class: "muted" }, "Loading\u2026");
    const empty = emptyState();
    empty.hidden = true;
    const older = h("button",
        { type: "button", hidden: true, onclick: () => busy(older, loadOlder) },
        "Show older jobs");
    const summary = h("p", { class: "muted", id: "jobs-summary" });
    main.replaceChildren(
        h("div", { class: "page-head" },
            h("div", null, h("h1", { tabindex: "-1" }, "Fine-tuning jobs"), summary),
            h("button", { type: "button", class: "primary", onclick: () => openCreate() },
                "New job")),
        loading, empty, table, h("div", { class: "more" }, older));
    let jobs = [], hasMore = false;

    function show() {
        loading.hidden = true;
        table.hidden = jobs.length === 0;
        empty.hidden = jobs.length > 0;
        older.hidden = !hasMore;
        const running = jobs.filter(isActive).length;
        const count = `${jobs.length}${hasMore ? "+" : ""} ${jobs.length === 1 ? "job" : "jobs"}`;
        setText(summary, jobs.length === 0 ? "" : `${count}, ${running || "none"} active`);
        reconcile(body, jobs, (job) => job.id, makeRow, updateRow);
    }

    async function loadOlder() {
        const page = await api.jobs({ limit: PAGE, after: jobs.at(-1).id });
        jobs = [...jobs, ...page.data];
        hasMore = page.has_more;
        show();
    }

    const poller = poll(async (abort) => {
        const page = await api.jobs({ limit: PAGE }, abort);
        const last = page.data.at(-1);
        const at = last ? jobs.findIndex((job) => job.id === last.id) : -1;
        if (at < 0) { // nothing older is shown, or so much is new that it starts again
            jobs = page.data;
            hasMore = page.has_more;
        } else {
            jobs = [...page.data, ...jobs.slice(at + 1)];
        }
        show();
        return page.data.some(isActive) ? 1500 : 10000;
    }, saidIn(loading));
    return poller.stop;
}
