/*
 * Files as the page handles them everywhere: their checks awaited, their problems shown, their
 * first row read; and the form field that chooses one of the server's files or uploads another.
 */
import { api, beginningOf, poll, upload } from "./api.js";
import {
    announce, badge, bytes, h, newId, number, setAttribute, setBadge, setText,
} from "./dom.js";

const PREVIEW_BYTES = 65536;
const MOST_PROBLEMS = 8;
const MOST_MESSAGES = 6;

export function isChecking(file) {
    return ["uploaded", "pending", "running"].includes(file?.status);
}

/* What status_details says, a problem a line: each ends with its code in brackets. */
export function problemList(file) {
    const lines = String(file.status_details ?? "").split(/\n|(?<=\]); /)
        .filter((line) => line !== "");
    const list = h("ul", { class: "problems" },
        lines.slice(0, MOST_PROBLEMS).map((line) => h("li", null, line)));
    if (lines.length > MOST_PROBLEMS) {
        list.append(h("li", null, `and ${number(lines.length - MOST_PROBLEMS)} more`));
    }
    return list;
}

function contentText(content) {
    if (typeof content === "string") {
        return content;
    }
    return Array.isArray(content)
        ? content.map((part) => part?.text ?? `[${part?.type ?? "part"}]`).join(" ") : "";
}

function messageNodes(messages) {
    return messages.slice(0, MOST_MESSAGES).map((message) => {
        const called = message?.tool_calls?.[0]?.function?.name;
        const text = contentText(message?.content) || (called ? `calls ${called}` : "\u2013");
        return h("div", { class: "row-message" },
            h("span", { class: "role" }, String(message?.role ?? "?")), h("span", null, text));
    });
}

/* The first row of a file as a conversation, as far as it is one. */
async function firstRow(id, abort) {
    const text = await beginningOf(id, PREVIEW_BYTES, abort);
    const [line] = text.replace(/^\ufeff/, "").split("\n");
    let row;
    try {
        row = JSON.parse(line);
    } catch {
        return h("pre", null, line.slice(0, 600));
    }
    const messages = row?.messages ?? row?.input?.messages;
    if (!Array.isArray(messages)) {
        return h("pre", null, JSON.stringify(row, null, 2).slice(0, 600));
    }
    return h("div", { class: "row-messages" }, messageNodes(messages));
}

/* A file's state in a form: name, size, status, its problems or its first row. */
function filePreview() {
    const status = badge();
    const name = h("b");
    const size = h("span", { class: "muted" });
    const body = h("div");
    const node = h("div", { class: "file-preview", role: "status", hidden: true },
        h("div", { class: "file-line" }, status, name, size), body);
    let shown = "", abort = null;

    function show(file) {
        node.hidden = file === null;
        if (file === null) {
            shown = "";
            abort?.abort();
            return;
        }
        setBadge(status, file.status);
        setText(name, file.filename);
        setText(size, file.bytes === null ? "" : bytes(file.bytes));
        if (shown === `${file.id} ${file.status}`) {
            return;
        }
        shown = `${file.id} ${file.status}`;
        abort?.abort();
        body.replaceChildren();
        if (file.status === "error") {
            body.append(h("p", { class: "problem" }, "This file cannot be trained on:"),
                problemList(file));
        } else if (isChecking(file)) {
            body.append(h("p", { class: "muted" }, "The rows are being checked\u2026"));
        } else {
            showFirstRow(file.id);
            if (file.status_details) {
                body.append(problemList(file));
            }
        }
    }

    async function showFirstRow(id) {
        abort = new AbortController();
        const mine = abort;
        try {
            const row = await firstRow(id, mine.signal);
            if (!mine.signal.aborted) {
                body.append(h("details", null, h("summary", null, "First row"), row));
            }
        } catch {
            // a preview that cannot be had is left out; what matters is the status
        }
    }

    return { node, show };
}

/* A progress bar of an upload with a button that stops it. */
export function uploadBar(file, abort) {
    const bar = h("progress", { max: "1", value: "0", "aria-label": `Upload of ${file.name}` });
    const share = h("span", { class: "muted" }, "0 %");
    const node = h("div", { class: "upload-bar" }, h("span", { class: "upload-name" }, file.name),
        bar,
        share, h("button", { type: "button", class: "quiet", onclick: () => abort.abort() },
            "Stop"));
    return {
        node,
        progress(value) {
            bar.value = value;
            setText(share, value < 1 ? `${Math.floor(value * 100)} %` : "sent, being checked");
        },
    };
}

/* Lets files be dropped on a node. */
export function acceptDrops(node, take) {
    node.addEventListener("dragover", (event) => {
        event.preventDefault();
        node.classList.add("is-target");
    });
    node.addEventListener("dragleave", () => node.classList.remove("is-target"));
    node.addEventListener("drop", (event) => {
        event.preventDefault();
        node.classList.remove("is-target");
        if (event.dataTransfer.files.length > 0) {
            take([...event.dataTransfer.files]);
        }
    });
}

/* name: of the request's member. optional: "None" is a choice. */
export function fileField({ name, label, hint, optional }) {
    const id = newId(name);
    const select = h("select", { id, name, "aria-describedby": `${id}-hint ${id}-problem` });
    const input = h("input", {
        type: "file", accept: ".jsonl,.json,.txt", class: "sr", tabindex: "-1",
        "aria-label": `${label}: upload`,
    });
    const button = h("button", { type: "button", onclick: () => input.click() }, "Upload\u2026");
    const preview = filePreview();
    const uploads = h("div");
    const problem = h("p", { class: "problem", id: `${id}-problem` });
    const node = h("div", { class: "field file-field" },
        h("label", { for: id }, label,
            optional ? h("span", { class: "muted" }, " optional") : null),
        h("div", { class: "file-row" }, select, button, input), uploads, preview.node,
        h("p", { class: "hint", id: `${id}-hint` }, hint), problem);
    let files = new Map(), watch = null;

    function setOptions() {
        const chosen = select.value;
        const list = [...files.values()];
        const option = (file) => h("option", {
            value: file.id, disabled: file.status === "error" && file.id !== chosen,
        }, `${file.filename}${file.status === "processed" ? "" : ` (${file.status})`}`);
        select.replaceChildren(
            h("option", { value: "" }, optional ? "None" : list.length > 0 ? "Choose a file"
                : "No files yet: upload one"), ...list.map(option));
        select.value = files.has(chosen) ? chosen : "";
    }

    function showChosen() {
        const file = files.get(select.value) ?? null;
        watch?.stop();
        watch = null;
        preview.show(file);
        if (isChecking(file)) {
            watch = poll(async (abort) => {
                const now = await api.file(file.id, abort);
                files.set(now.id, now);
                setOptions();
                preview.show(now);
                if (isChecking(now)) {
                    return 1000;
                }
                announce(`${now.filename}: ${now.status}`);
                return null;
            });
        }
    }

    function choose(value) {
        select.value = value;
        showChosen();
    }

    async function send(file) {
        const abort = new AbortController();
        const bar = uploadBar(file, abort);
        uploads.replaceChildren(bar.node);
        fail("");
        try {
            const made = await upload(file, "fine-tune", bar.progress, abort.signal);
            files = new Map([[made.id, made], ...files]);
            setOptions();
            choose(made.id);
        } catch (error) {
            if (error.name !== "AbortError") {
                fail(`${file.name}: ${error.message}`);
            }
        } finally {
            uploads.replaceChildren();
        }
    }

    function fail(text) {
        setText(problem, text);
        setAttribute(select, "aria-invalid", text === "" ? null : "true");
    }

    select.addEventListener("change", () => {
        fail("");
        showChosen();
    });
    input.addEventListener("change", () => {
        if (input.files.length > 0) {
            send(input.files[0]);
            input.value = "";
        }
    });
    acceptDrops(node, (dropped) => send(dropped[0]));

    return {
        node,
        get file() {
            return files.get(select.value) ?? null;
        },
        setFiles(list) {
            files = new Map(list.filter((file) => file.purpose === "fine-tune")
                .map((file) => [file.id, file]));
            setOptions();
            showChosen();
        },
        choose,
        fail,
        focus: () => select.focus(),
        stop: () => watch?.stop(),
        /* "" when it can be submitted, else what stands in the way. */
        check() {
            const file = files.get(select.value);
            if (file === undefined) {
                return optional ? "" : "Choose a file or upload one.";
            }
            if (file.status === "error") {
                return "This file has errors: mend it and upload it again.";
            }
            return isChecking(file) ? "The file is still being checked: a moment, please." : "";
        },
    };
}
