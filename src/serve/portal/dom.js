/*
 * Elements, lists that keep their nodes, dialogs and words for numbers and times. Text always goes
 * in as text: nothing here or elsewhere parses HTML.
 */
const SVG = "http://www.w3.org/2000/svg";

// ---- elements ----

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (name.startsWith("on")) {
            node.addEventListener(name.slice(2), value);
        } else if (name in node && typeof value === "boolean") {
            node[name] = value;
        } else if (value !== null && value !== undefined) {
            node.setAttribute(name, value);
        }
    }
    node.append(...children.flat(Infinity).filter((child) => (child ?? null) !== null));
    return node;
}

/* h("button", {type: "button", onclick: f}, "Text", node, ...). */
export function h(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function setText(node, text) {
    const value = String(text ?? "");
    if (node.textContent !== value) {
        node.textContent = value;
    }
}

export function setAttribute(node, name, value) {
    if (value === null) {
        node.removeAttribute(name);
    } else if (node.getAttribute(name) !== String(value)) {
        node.setAttribute(name, value);
    }
}

/* Makes the children of `parent` those of `items`, in order, keeping nodes by key: focus, selection
 * and scrolling stay where they are. */
export function reconcile(parent, items, keyOf, create, update) {
    const keys = new Set(items.map((item) => String(keyOf(item))));
    const old = new Map();
    for (const node of [...parent.children]) {
        if (keys.has(node.dataset.key)) {
            old.set(node.dataset.key, node);
        } else {
            node.remove();
        }
    }
    let at = parent.firstElementChild;
    for (const item of items) {
        const key = String(keyOf(item));
        let node = old.get(key);
        if (node === undefined) {
            node = create(item);
            node.dataset.key = key;
        }
        update?.(node, item);
        if (node === at) {
            at = at.nextElementSibling;
        } else {
            parent.insertBefore(node, at);
        }
    }
}

let lastId = 0;
export function newId(prefix) {
    lastId += 1;
    return `${prefix}-${lastId}`;
}

// ---- saying things ----

export function announce(text) {
    const region = document.getElementById("announce");
    region.textContent = "";
    setTimeout(() => {
        region.textContent = text; // said again even if it is the same
    }, 50);
}

/* A message that goes away by itself; errors stay until dismissed. */
export function toast(text, kind = "info") {
    const isError = kind === "error";
    const node = h("div", { class: `toast ${kind}`, role: isError ? "alert" : "status" },
        h("span", null, text),
        h("button", {
            type: "button", class: "quiet icon-button", "aria-label": "Dismiss",
            onclick: () => node.remove(),
        }, "\u00d7"));
    document.getElementById("toasts").append(node);
    if (!isError) {
        setTimeout(() => node.remove(), 5000);
    }
}

/* Runs what a button starts: off while it runs, failures said. Returns whether it went well. */
export async function busy(button, task) {
    if (button.disabled) {
        return false;
    }
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
        await task();
        return true;
    } catch (error) {
        toast(error.message, "error");
        return false;
    } finally {
        button.disabled = false;
        button.removeAttribute("aria-busy");
    }
}

/* What to do with a failure where it is said in a paragraph of its own. */
export function saidIn(node) {
    return (error) => {
        node.hidden = false;
        setText(node, error.message);
    };
}

// ---- dialogs ----

export function openDialog(dialog) {
    if (!dialog.isConnected) {
        document.body.append(dialog);
        dialog.addEventListener("close", () => {
            if (dialog.dataset.keep === undefined) {
                dialog.remove();
            }
        });
    }
    dialog.showModal();
}

/* Asks before something is lost. task() runs while the dialog is open, which shows its failure. */
export function confirmLoss({ title, text, verb, task }) {
    const id = newId("confirm");
    const problem = h("p", { class: "problem", role: "alert" });
    const go = h("button", { type: "submit", class: "danger" }, verb);
    const back = h("button", { type: "button", onclick: () => dialog.close() }, "Keep it");
    const dialog = h("dialog", {
        class: "ask", "aria-labelledby": id, "aria-describedby": `${id}-text`,
    }, h("form", {
        onsubmit: async (event) => {
            event.preventDefault();
            go.disabled = true;
            setText(problem, "");
            try {
                await task();
                dialog.close();
            } catch (error) {
                setText(problem, error.message);
                go.disabled = false;
            }
        },
    },
    h("h2", { id }, title), h("p", { id: `${id}-text` }, text), problem,
    h("div", { class: "dialog-foot" }, back, go)));
    openDialog(dialog);
    back.focus();
}

// ---- numbers, times, names ----

const whole = new Intl.NumberFormat("en");

export function number(value) {
    return value === null || value === undefined ? "\u2013" : whole.format(value);
}

export function fixed(value, digits) {
    return value === null || value === undefined || Number.isNaN(value) ? "\u2013"
        : value.toFixed(digits);
}

export function bytes(value) {
    if (value === null || value === undefined) {
        return "\u2013";
    }
    let size = value, unit = 0;
    const units = ["B", "kB", "MB", "GB"];
    while (size >= 1000 && unit < units.length - 1) {
        size /= 1000;
        unit += 1;
    }
    return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/* Seconds as people say them: "40 s", "3 min", "2 h 5 min", "4 days". */
export function duration(seconds) {
    const total = Math.max(0, Math.round(seconds));
    if (total < 60) {
        return `${total} s`;
    }
    const minutes = Math.round(total / 60);
    if (minutes < 60) {
        return `${minutes} min`;
    }
    const hours = Math.floor(minutes / 60);
    if (hours < 48) {
        return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
    }
    return `${Math.round(hours / 24)} days`;
}

const dateTime = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

export function dateText(unix) {
    return unix ? dateTime.format(unix * 1000) : "\u2013";
}

export function clockText(unix) {
    return clock.format(unix * 1000);
}

export function agoText(unix) {
    const seconds = Date.now() / 1000 - unix;
    return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

/* A <time> that setTime keeps up to date. */
export function timeNode() {
    return h("time");
}

export function setTime(node, unix) {
    if (!unix) {
        setText(node, "\u2013");
        return;
    }
    setAttribute(node, "datetime", new Date(unix * 1000).toISOString());
    setAttribute(node, "title", dateText(unix));
    setText(node, agoText(unix));
}

/* An id or name in full, with a button that copies it. */
export function copyable(text) {
    const node = h("span", { class: "copyable" }, h("code", null, text));
    if (navigator.clipboard) {
        const button = h("button", {
            type: "button", class: "quiet copy", "aria-label": `Copy ${text}`, title: "Copy",
            onclick: async () => {
                await navigator.clipboard.writeText(text);
                announce("Copied");
                button.classList.add("done");
                setTimeout(() => button.classList.remove("done"), 1200);
            },
        });
        node.append(button);
    }
    return node;
}

const STATUS_KINDS = {
    pending: "wait", validating_files: "wait", queued: "wait", uploaded: "wait",
    running: "run", pausing: "run", resuming: "run", deleting: "run",
    notRunning: "wait", accepted: "run", creating: "run", loading: "run",
    paused: "hold", cancelled: "hold", canceled: "hold",
    succeeded: "good", processed: "good", ready: "good",
    failed: "bad", error: "bad",
};

/* A status as a word with a sign: colour alone says nothing. */
export function badge() {
    return h("span", { class: "badge" });
}

export function setBadge(node, status) {
    const value = String(status ?? "unknown");
    const kind = STATUS_KINDS[value] ?? STATUS_KINDS[value.toLowerCase()] ?? "wait";
    setAttribute(node, "class", `badge ${kind}`);
    const words = value.replaceAll("_", " ");
    setText(node, words.charAt(0).toUpperCase() + words.slice(1));
}
