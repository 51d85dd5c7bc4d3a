import { app } from "./app.js";
import { field, h, head, input, link, table } from "./ui.js";

const readable = (p) => p.methods.includes("GET") && !p.path.includes("{");

const columns = [
  ["Path", (p) => (readable(p) ? link(p.path.slice(1) || "./", p.path) : h("code", {}, p.path))],
  ["Methods", (p) => p.methods.sort().join(", ")],
  ["What it does", (p) => p.summary ?? "a route of lignum.lua", "wide"],
];

export async function page() {
  const { paths } = await app.api.get("/v1");
  const search = input({ type: "search", placeholder: "path or words" });
  const rows = table("Paths", columns, paths, "No path has these words.");
  search.addEventListener("input", () => {
    const text = search.value.trim().toLowerCase();
    rows.set(paths.filter((p) => `${p.path} ${p.summary ?? ""}`.toLowerCase().includes(text)));
  });
  const note = ["All paths of this node. ", link("openapi.json", "openapi.json"), " describes them for machines."];
  return {
    title: "Interface",
    element: h(
      "div",
      {},
      head("Interface"),
      h("p", { class: "note" }, note),
      h("div", { class: "bar" }, field("Find", search)),
      rows,
    ),
  };
}
