// Read one {"soql": …} per line from stdin, and print the result of a SOQL parser, or its error, as a line each.
//
//   {ok, object, fields, typeofs, children, count, conditions, order, limit, offset} or {ok: false, error}
//
// Anything else in a tree (GROUP BY, OR, parentheses …) is an error, because the test does not check it.
import { createInterface } from "node:readline";
import { parseQuery } from "@jetstreamapp/soql-parser-js";

const TAKEN = ["fields", "sObject", "where", "orderBy", "limit", "offset"];

function need(condition, message) {
  if (!condition) throw new Error(message);
}

function path(field) {
  return typeof field === "string" ? field : [...(field.relationships ?? []), field.field].join(".");
}

function* conditions(where) {
  for (let rest = where; rest; rest = rest.right) {
    const { field, operator, value, literalType, ...more } = rest.left ?? {};
    need(field && operator && Object.keys(more).length === 0, "a condition that is not a plain comparison");
    need(rest.right ? rest.operator === "AND" : !rest.operator, "conditions not joined by AND");
    yield [field, operator, value, literalType];
  }
}

function whens(field) {
  need(field.conditions.every((each) => each.type === "WHEN"), "TYPEOF with ELSE");
  return Object.fromEntries(field.conditions.map((each) => [each.objectType, each.fieldList.map(path)]));
}

function read(soql) {
  const tree = parseQuery(soql);
  const found = { ok: true, object: tree.sObject, fields: [], typeofs: {}, children: {}, count: false };
  need(Object.keys(tree).every((key) => TAKEN.includes(key)), `unexpected: ${Object.keys(tree)}`);
  for (const field of tree.fields) {
    if (field.type === "Field" || field.type === "FieldRelationship") found.fields.push(path(field));
    else if (field.type === "FieldTypeof") found.typeofs[field.field] = whens(field);
    else if (field.type === "FieldSubquery") {
      const { relationshipName, fields, ...more } = field.subquery;
      need(Object.keys(more).length === 0, `unexpected in a child query: ${Object.keys(more)}`);
      found.children[relationshipName] = fields.map(path);
    } else {
      need(field.rawValue === "COUNT()" && tree.fields.length === 1, `unexpected: ${field.rawValue}`);
      found.count = true;
    }
  }
  found.conditions = [...conditions(tree.where)];
  found.order = (tree.orderBy ?? []).map((each) => [each.field, each.order]);
  return { ...found, limit: tree.limit ?? null, offset: tree.offset ?? null };
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = read(JSON.parse(line).soql);
  } catch (error) {
    answer = { ok: false, error: String(error.message).split("\n")[0] };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
