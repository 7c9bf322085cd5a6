/*
 * The page: which part of it the address names, the theme, the key, the state of the connection.
 */
import { hasKey, setKey, signals } from "./api.js";
import { deploymentsPage } from "./deployments.js";
import { announce, h, newId, openDialog, setText } from "./dom.js";
import { filesPage } from "./files.js";
import { jobPage } from "./job.js";
import { jobsPage } from "./jobs.js";
import { playgroundPage } from "./playground.js";

const main = document.getElementById("main");

// ---- pages ----

const PAGES = {
    jobs: { title: "Jobs", open: (id) => (id ? jobPage(main, id) : jobsPage(main)) },
    files: { title: "Files", open: () => filesPage(main) },
    deployments: { title: "Deployments", open: () => deploymentsPage(main) },
    playground: { title: "Playground", open: (name) => playgroundPage(main, name) },
};
let close = () => {};

function decode(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

/* "#/jobs/ID" is the page "jobs" with "ID". */
function go() {
    const [, name = "jobs", rest = ""] = location.hash.split("/");
    const page = PAGES[name] ?? PAGES.jobs;
    close();
    document.title = `${page.title} \u00b7 lorac`;
    for (const link of document.querySelectorAll("nav [data-page]")) {
        if (PAGES[link.dataset.page] === page) {
            link.setAttribute("aria-current", "page");
        } else {
            link.removeAttribute("aria-current");
        }
    }
    close = page.open(decode(rest)) ?? (() => {});
    window.scrollTo(0, 0);
}

window.addEventListener("hashchange", () => {
    for (const dialog of document.querySelectorAll("dialog[open]")) {
        dialog.close();
    }
    go();
    main.querySelector("h1")?.focus({ preventScroll: true }); // a screen reader says where it is
});
document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names the page
    main.focus();
});

// ---- theme ----

const themeButton = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen === undefined ? systemDark.matches : chosen === "dark";
}

function showTheme() {
    themeButton.setAttribute("aria-pressed", String(isDark()));
}

themeButton.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
        localStorage.setItem("lorac-theme", theme);
    } catch {
        // no storage: until the page is closed
    }
    showTheme();
});
systemDark.addEventListener("change", showTheme);
showTheme();

// ---- the key ----

const forget = document.getElementById("forget-key");
let keyDialog = null;

function askForKey() {
    if (keyDialog !== null) {
        return;
    }
    const id = newId("key");
    const wasWrong = hasKey();
    const input = h("input",
        { id: `${id}-input`, type: "password", autocomplete: "off", required: true });
    keyDialog = h("dialog", { class: "ask", "aria-labelledby": id }, h("form", {
        onsubmit: (event) => {
            event.preventDefault();
            const value = input.value.trim();
            keyDialog.close();
            setKey(value);
        },
    },
    h("h2", { id }, "API key"),
    h("p", null, wasWrong ? "The server does not know this key, or it has been revoked."
        : "This server asks for a key. The command \u201clorac keys add\u201d makes one."),
    h("div", { class: "field" }, h("label", { for: `${id}-input` }, "Key"), input,
        h("p", { class: "hint" }, "Kept in this tab until it is closed.")),
    h("div", { class: "dialog-foot" },
        h("button", { type: "submit", class: "primary" }, "Use key"))));
    keyDialog.addEventListener("close", () => {
        keyDialog = null;
        forget.hidden = false;
        setText(forget, hasKey() ? "Forget API key" : "Enter API key");
    });
    openDialog(keyDialog);
}

signals.addEventListener("unauthorized", askForKey);
signals.addEventListener("key", () => {
    forget.hidden = !hasKey();
    setText(forget, "Forget API key");
});
forget.hidden = !hasKey();
forget.addEventListener("click", () => {
    if (hasKey()) {
        setKey(null);
        announce("API key forgotten");
        go();
    } else {
        askForKey();
    }
});

// ---- the connection ----

const connection = document.getElementById("connection");
signals.addEventListener("connection", ({ detail }) => {
    connection.hidden = detail === "";
    setText(connection, detail);
});

go();
