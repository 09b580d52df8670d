// Draws /openapi.json. Everything goes in as text, never as markup: a description can't become a script.
"use strict";

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// `code` and paragraphs are all the markup that descriptions have.
const prose = (text) => {
  const parts = (text || "").split(/\n\n+/).filter(Boolean);
  return parts.map((part) => make("p", {}, ...part.split("`").map((piece, i) => (i % 2 ? make("code", {}, piece) : piece))));
};

const nameOf = (reference) => reference.split("/").pop();

const typeOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return make("a", { href: "#type-" + nameOf(schema.$ref) }, nameOf(schema.$ref));
  const options = schema.oneOf || schema.anyOf || schema.allOf;
  if (options) return join(options.filter((option) => option.type !== "null").map(typeOf), " or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const types = Array.isArray(schema.type) ? schema.type.filter((type) => type !== "null") : [schema.type || "any"];
  if (types[0] === "array") return join(["array of ", typeOf(schema.items)], "");
  return types.join(" or ");
};

// Of a type that may be missing, the description stands with the type.
const described = (schema) => schema.description || (schema.oneOf || schema.anyOf || schema.allOf || []).find((option) => option.description)?.description;

const join = (parts, between) => {
  const span = make("span");
  parts.forEach((part, i) => span.append(...(i && between ? [between, part] : [part])));
  return span;
};

const table = (heads, rows) =>
  make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, ...[cell].flat()))))));

const contents = (content) =>
  join(Object.entries(content || {}).map(([kind, media]) => join([make("code", {}, kind), " ", typeOf(media.schema)], "")), ", ");

const curl = (method, path, operation) => {
  const parameters = operation.parameters || [];
  // What has no example is left as a word to be replaced: braces would mean something to curl.
  const example = (p) => p.example ?? p.schema?.example ?? (p.schema?.type === "integer" ? 1 : p.name.toUpperCase());
  const query = parameters.filter((p) => p.in === "query" && p.required).map((p) => `${p.name}=${example(p)}`).join("&");
  const filled = parameters.filter((p) => p.in === "path").reduce((all, p) => all.replace(`{${p.name}}`, example(p)), path);
  const url = location.origin + filled + (query ? "?" + query : "");
  const lines = [`curl -sS ${method === "get" ? "" : "-X " + method.toUpperCase() + " "}'${url}'`];
  if (operation.security && !operation.security.some((way) => Object.keys(way).length === 0)) lines.push("  -H 'Authorization: Bearer slt_...'");
  const kind = Object.keys(operation.requestBody?.content || {})[0];
  if (kind) lines.push(`  -H 'Content-Type: ${kind}' --data-binary @file`);
  return lines.join(" \\\n");
};

const operation = (method, path, details) => {
  const body = make("div", {}, ...prose(details.description));
  if (details.parameters?.length) {
    body.append(make("h4", {}, "Parameters"), table(["name", "in", "type", ""], details.parameters.map((p) => [make("code", {}, p.name), p.in + (p.required ? ", required" : ""), typeOf(p.schema), prose(p.description)])));
  }
  if (details.requestBody) {
    body.append(make("h4", {}, "Body"), ...prose(details.requestBody.description), contents(details.requestBody.content));
  }
  body.append(make("h4", {}, "Answers"), table(["status", "", "body"], Object.entries(details.responses).map(([status, answer]) => [make("code", {}, status), prose(answer.description), contents(answer.content)])));
  body.append(make("h4", {}, "Try"), make("pre", {}, make("code", {}, curl(method, path, details))));
  return make("details", { "data-search": `${method} ${path} ${details.summary || ""}`.toLowerCase() },
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), make("span", { class: "path" }, path), make("span", { class: "note" }, " " + (details.summary || ""))), body);
};

const draw = (api) => {
  document.getElementById("title").textContent = api.info.title;
  document.getElementById("version").textContent = "version " + api.info.version + ", OpenAPI " + api.openapi;
  document.getElementById("description").replaceChildren(...prose(api.info.description));
  const routes = document.getElementById("routes");
  routes.replaceChildren();
  const named = (api.tags || []).map((tag) => tag.name);
  const used = Object.values(api.paths).flatMap((item) => Object.values(item)).flatMap((details) => details.tags || []);
  // A route whose tag nobody described must not be missing for that.
  const others = [...new Set(used)].filter((name) => !named.includes(name)).map((name) => ({ name }));
  for (const tag of [...(api.tags || []), ...others]) {
    const section = make("section", {}, make("h2", {}, tag.name), ...prose(tag.description));
    for (const [path, item] of Object.entries(api.paths))
      for (const [method, details] of Object.entries(item))
        if ((details.tags || []).includes(tag.name)) section.append(operation(method, path, details));
    routes.append(section);
  }
  const types = document.getElementById("types");
  for (const [name, schema] of Object.entries(api.components?.schemas || {})) {
    const fields = Object.entries(schema.properties || {}).map(([field, of]) => [make("code", {}, field), (schema.required || []).includes(field) ? "always" : "", typeOf(of), prose(described(of))]);
    types.append(make("details", { id: "type-" + name }, make("summary", {}, make("code", {}, name)), make("div", {}, ...prose(schema.description), fields.length ? table(["field", "", "type", ""], fields) : typeOf(schema))));
  }
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const one of routes.querySelectorAll("details")) one.hidden = !one.dataset.search.includes(wanted);
    for (const section of routes.querySelectorAll("section")) section.hidden = !section.querySelector("details:not([hidden])");
  });
  const open = () => { const target = document.getElementById(location.hash.slice(1)); if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); } };
  addEventListener("hashchange", open);
  open();
};

fetch("/openapi.json").then((answer) => answer.json()).then(draw).catch((error) => {
  document.getElementById("routes").textContent = "The description can't be read: " + error;
});
