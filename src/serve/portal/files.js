/*
 * Files: upload, what their check found, download, delete.
 */
import { api, download, poll, upload } from "./api.js";
import {
    announce, badge, busy, bytes, confirmLoss, dateText, h, reconcile, saidIn, setBadge,
    setText, setTime, timeNode, toast,
} from "./dom.js";
import { acceptDrops, isChecking, problemList, uploadBar } from "./filefield.js";

const PURPOSES = { "fine-tune": "Training data", "fine-tune-results": "Results of a job" };

function askDelete(file, done) {
    confirmLoss({
        title: `Delete ${file.filename}?`,
        text: "The file is removed from the server. Jobs that have used it keep their results; " +
            "one that still waits for it would fail.",
        verb: "Delete the file",
        task: async () => {
            await api.deleteFile(file.id);
            announce(`${file.filename} deleted`);
            done();
        },
    });
}

function makeRow(file, done) {
    const save = h("button", {
        type: "button", class: "small-button", "aria-label": `Download ${file.filename}`,
        onclick: () => busy(save, () => download(file.id, file.filename)),
    }, "Download");
    const parts = {
        name: h("span", { class: "row-title" }), id: h("code", { class: "row-sub" }),
        more: h("span", { class: "row-sub narrow-only" }), problems: h("div"),
        purpose: h("td", { class: "wide-only" }), size: h("td", { class: "wide-only nowrap" }),
        status: badge(), created: timeNode(), expires: h("td", { class: "wide-only nowrap" }),
        seen: "",
    };
    const row = h("tr", null,
        h("th", { scope: "row" }, parts.name, parts.id, parts.more, parts.problems), parts.purpose,
            parts.size,
        h("td", null, parts.status), h("td", { class: "wide-only nowrap" }, parts.created),
            parts.expires,
        h("td", { class: "row-actions" }, save,
            h("button", {
                type: "button", class: "small-button danger-quiet",
                "aria-label": `Delete ${file.filename}`, onclick: () => askDelete(file, done),
            }, "Delete")));
    row.parts = parts;
    return row;
}

function updateRow(row, file) {
    const { parts } = row;
    setText(parts.name, file.filename);
    setText(parts.id, file.id);
    setText(parts.purpose, PURPOSES[file.purpose] ?? file.purpose);
    setText(parts.size, bytes(file.bytes));
    setText(parts.more, `${PURPOSES[file.purpose] ?? file.purpose} \u00b7 ${bytes(file.bytes)}`);
    setBadge(parts.status, file.status);
    setTime(parts.created, file.created_at);
    setText(parts.expires, file.expires_at ? dateText(file.expires_at) : "never");
    const seen = `${file.status} ${file.status_details ?? ""}`;
    if (parts.seen !== seen) {
        parts.seen = seen;
        parts.problems.replaceChildren(...(file.status_details ? [problemList(file)] : []));
    }
}

export function filesPage(main) {
    const body = h("tbody");
    const table = h("div", { class: "panel table-panel", hidden: true }, h("table", null,
        h("caption", { class: "sr" }, "Files, newest first"),
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "File"),
            h("th", { scope: "col", class: "wide-only" }, "Purpose"),
            h("th", { scope: "col", class: "wide-only" }, "Size"),
                h("th", { scope: "col" }, "Status"),
            h("th", { scope: "col", class: "wide-only" }, "Created"),
            h("th", { scope: "col", class: "wide-only" }, "Expires"),
            h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")))), body));
    const input = h("input", {
        type: "file", multiple: true, accept: ".jsonl,.json,.txt", class: "sr", tabindex: "-1",
        "aria-label": "Files to upload",
    });
    const uploads = h("div", { class: "uploads" });
    const loading = h("p", { class: "muted" }, "Loading\u2026");
    const empty = h("p", { class: "muted", hidden: true }, "No files yet.");
    const drop = h("div", { class: "drop" },
        h("button", { type: "button", class: "primary", onclick: () => input.click() },
            "Upload files\u2026"),
        h("span", { class: "muted" },
            "or drop them here. JSON lines, each checked as it arrives."), input);
    main.replaceChildren(
        h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Files")),
        drop, uploads, loading, empty, table);

    async function send(file) {
        const abort = new AbortController();
        const bar = uploadBar(file, abort);
        uploads.append(bar.node);
        try {
            const made = await upload(file, "fine-tune", bar.progress, abort.signal);
            announce(`${made.filename} uploaded`);
        } catch (error) {
            if (error.name !== "AbortError") {
                toast(`${file.name}: ${error.message}`, "error");
            }
        } finally {
            bar.node.remove();
            poller.now();
        }
    }

    async function sendAll(files) {
        for (const file of files) { // one after the other: each has the whole line
            await send(file);
        }
    }

    input.addEventListener("change", () => {
        sendAll([...input.files]);
        input.value = "";
    });
    acceptDrops(drop, sendAll);
    const poller = poll(async (abort) => {
        const { data } = await api.files({ limit: 1000 }, abort);
        loading.hidden = true;
        empty.hidden = data.length > 0;
        table.hidden = data.length === 0;
        reconcile(body, data, (file) => file.id, (file) => makeRow(file, () => poller.now()),
            updateRow);
        return data.some(isChecking) ? 1000 : 15000;
    }, saidIn(loading));
    return poller.stop;
}
