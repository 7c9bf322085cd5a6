/*
 * Line charts over training steps: several series on one plot, drawn as SVG. The legend is the
 * readout: it shows the values at the step that pointer or keyboard are on, else the latest. For
 * screen readers a chart is a slider over the steps.
 */
import { fixed, h, number, s, setAttribute, setText } from "./dom.js";

const HEIGHT = 220;
const MARGIN = { left: 46, right: 14, top: 10, bottom: 26 };

/* Tick values in [low, high], 1, 2 or 5 times a power of ten apart, about `count` of them. */
function ticks(low, high, count, wholeOnly) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    let step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
    if (wholeOnly) {
        step = Math.max(1, Math.round(step));
    }
    const values = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
        values.push(i * step);
    }
    return { values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

/* At most a low and a high a pixel: what a screen can show of a long run. */
function thin(points, toX) {
    if (points.length < 2000) {
        return points;
    }
    const kept = [];
    let column = null, low = null, high = null;
    const flush = () => {
        if (low !== null) {
            kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
        }
    };
    for (const point of points) {
        const x = Math.round(toX(point[0]));
        if (x !== column) {
            flush();
            column = x;
            low = high = point;
        }
        low = point[1] < low[1] ? point : low;
        high = point[1] > high[1] ? point : high;
    }
    flush();
    return kept;
}

function marker(kind, x, y) {
    if (kind === "full") {
        return s("path", { d: `M${x} ${y - 5}l5 5-5 5-5-5z` });
    }
    return s("circle", { cx: x, cy: y, r: kind === "valid" ? 2.6 : 3 });
}

/* series: [{ key, label, kind }], kind train, valid or full: their look. limits: [low, high] that
 * values cannot leave, or null. onCursor(step or null). */
export function lineChart({ title, series, digits, limits, onCursor }) {
    const svg = s("svg", {
        class: "plot", tabindex: "0", role: "slider", "aria-label": `${title} by step`,
        height: HEIGHT,
    });
    const stepText = h("span", { class: "legend-step" });
    const values = new Map();
    const legend = h("div", { class: "legend" }, stepText, series.map((one) => {
        const value = h("b", null, "\u2013");
        values.set(one.key, value);
        return h("span", { class: `legend-item ${one.kind}` },
            s("svg", { width: 18, height: 10, "aria-hidden": "true" },
                s("path", { class: "line", d: "M0 5h18" }), marker(one.kind, 9, 5)),
            h("span", null, one.label), value);
    }));
    const empty = h("p", { class: "plot-empty" }, "No values yet.");
    const node = h("figure", { class: "chart" },
        h("figcaption", null, h("h2", null, title), legend), svg, empty);
    let rows = [], width = 0, cursor = null;
    let toX = () => 0, toY = () => 0;

    function range() {
        let low = Infinity, high = -Infinity;
        for (const row of rows) {
            for (const { key } of series) {
                if (Number.isFinite(row[key])) {
                    low = Math.min(low, row[key]);
                    high = Math.max(high, row[key]);
                }
            }
        }
        if (low > high) {
            return null;
        }
        const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.1;
        return [Math.max(low - pad, limits?.[0] ?? -Infinity),
            Math.min(high + pad, limits?.[1] ?? Infinity)];
    }

    function axes([low, high], first, last) {
        const group = s("g", { class: "axes" });
        const vertical = ticks(low, high, 4, false);
        for (const value of vertical.values) {
            const y = toY(value);
            group.append(
                s("line", {
                    class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y,
                }),
                s("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" },
                    value.toFixed(vertical.digits)));
        }
        for (const value of ticks(first, last, Math.max(2, width / 110), true).values) {
            group.append(s("text", {
                x: toX(value), y: HEIGHT - 8,
                "text-anchor": value === last && value !== first ? "end" : "middle",
            }, number(value)));
        }
        return group;
    }

    function draw() {
        const bounds = range();
        const isEmpty = bounds === null || width < 80;
        node.classList.toggle("is-empty", isEmpty);
        if (isEmpty) {
            svg.replaceChildren();
            return;
        }
        const first = rows[0].step, last = Math.max(rows.at(-1).step, first + 1);
        const plotWidth = width - MARGIN.left - MARGIN.right;
        const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
        toX = (step) => MARGIN.left + ((step - first) / (last - first)) * plotWidth;
        const scale = plotHeight / (bounds[1] - bounds[0]);
        toY = (value) => MARGIN.top + (bounds[1] - value) * scale;
        svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
        svg.replaceChildren(axes(bounds, first, last),
            ...series.map((one) => seriesGroup(one, plotWidth)).filter((group) => group !== null),
            s("g", { class: "cursor" }));
        drawCursor();
    }

    /* A line, with marks where there is room for them; null without points. */
    function seriesGroup({ key, kind }, plotWidth) {
        const points = rows.filter((row) => Number.isFinite(row[key]))
            .map((row) => [row.step, row[key]]);
        if (points.length === 0) {
            return null;
        }
        const drawn = thin(points, toX).map(([x, y]) => [+toX(x).toFixed(1), +toY(y).toFixed(1)]);
        const line = `M${drawn.map(([x, y]) => `${x} ${y}`).join("L")}`;
        const isMarked = kind === "train" ? drawn.length === 1 : drawn.length <= plotWidth / 12;
        return s("g", { class: `series ${kind}` }, s("path", { class: "line", d: line }),
            isMarked ? drawn.map(([x, y]) => marker(kind, x, y)) : []);
    }

    function rowAt(step) {
        let low = 0, high = rows.length - 1;
        while (low < high) { // the nearest row
            const middle = (low + high) >> 1;
            if (rows[middle].step < step) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        const before = rows[low - 1];
        return before !== undefined && step - before.step < rows[low].step - step ? low - 1 : low;
    }

    /* The latest value of each series, where there is no cursor. */
    function latest(key) {
        for (let i = rows.length - 1; i >= 0; i--) {
            if (Number.isFinite(rows[i][key])) {
                return rows[i][key];
            }
        }
        return null;
    }

    function drawCursor() {
        const group = svg.querySelector(".cursor");
        if (group === null || rows.length === 0) {
            return;
        }
        const row = cursor === null ? null : rows[rowAt(cursor)];
        const shown = row ?? rows.at(-1);
        setText(stepText, `Step ${number(shown.step)}`);
        const said = [];
        for (const { key, label } of series) {
            const value = row === null ? latest(key) : row[key] ?? null;
            setText(values.get(key), fixed(value, digits));
            if (value !== null) {
                said.push(`${label} ${fixed(value, digits)}`);
            }
        }
        setAttribute(svg, "aria-valuemin", rows[0].step);
        setAttribute(svg, "aria-valuemax", rows.at(-1).step);
        setAttribute(svg, "aria-valuenow", shown.step);
        setAttribute(svg, "aria-valuetext", `Step ${shown.step}: ${said.join(", ")}`);
        group.replaceChildren();
        if (row !== null) {
            const x = toX(row.step);
            group.append(s("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
                ...series.filter(({ key }) => Number.isFinite(row[key])).map(({ key, kind }) =>
                    s("g", { class: `series ${kind}` }, marker(kind, x, toY(row[key])))));
        }
    }

    function moveTo(index) {
        onCursor(rows[Math.max(0, Math.min(rows.length - 1, index))].step);
    }

    svg.addEventListener("pointermove", (event) => {
        if (rows.length > 0) {
            const box = svg.getBoundingClientRect();
            const share = (event.clientX - box.left - MARGIN.left) /
                (box.width - MARGIN.left - MARGIN.right);
            const first = rows[0].step;
            onCursor(first + Math.max(0, Math.min(1, share)) * (rows.at(-1).step - first));
        }
    });
    svg.addEventListener("pointerleave", () => onCursor(null));
    svg.addEventListener("blur", () => onCursor(null));
    svg.addEventListener("keydown", (event) => {
        if (rows.length === 0) {
            return;
        }
        const at = cursor === null ? rows.length - 1 : rowAt(cursor);
        const page = Math.max(2, Math.round(rows.length / 10));
        const moves = {
            ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
            PageDown: at - page, PageUp: at + page, Home: 0, End: rows.length - 1,
        };
        if (event.key in moves) {
            moveTo(moves[event.key]);
        } else if (event.key === "Escape" && cursor !== null) {
            onCursor(null);
        } else {
            return;
        }
        event.preventDefault();
    });
    new ResizeObserver((entries) => {
        const now = Math.floor(entries[0].contentRect.width);
        if (now !== width) {
            width = now;
            draw();
        }
    }).observe(node);

    return {
        node,
        /* rows: [{ step, [key]: number or null }], ascending. */
        update(newRows) {
            rows = newRows;
            draw();
        },
        setCursor(step) {
            cursor = step;
            drawCursor();
        },
    };
}
