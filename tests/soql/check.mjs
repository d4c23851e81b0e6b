// Read one {"soql": …} per line from stdin, and print the result of a SOQL parser, or its error, as a line each.
//
//   {ok, object, fields, typeofs, children, count, counted, group, conditions, compared, order, limit, offset}
//   or {ok: false, error}
//
// `conditions` are joined by AND; ["OR", […]] is one in parentheses. `compared` has their comparisons alone.
// Anything else in a tree (HAVING, NOT …) is an error, because the test does not check it.
import { createInterface } from "node:readline";
import { parseQuery } from "@jetstreamapp/soql-parser-js";

const TAKEN = ["fields", "sObject", "where", "groupBy", "orderBy", "limit", "offset"];

function need(condition, message) {
  if (!condition) throw new Error(message);
}

function path(field) {
  return typeof field === "string" ? field : [...(field.relationships ?? []), field.field].join(".");
}

function* words(where) {
  for (let rest = where; rest; rest = rest.right) {
    const { field, operator, value, literalType, openParen, closeParen, ...more } = rest.left ?? {};
    need(field && operator && Object.keys(more).length === 0, "a condition that is not a plain comparison");
    yield* Array(openParen ?? 0).fill("(");
    yield [field, operator, value, literalType];
    yield* Array(closeParen ?? 0).fill(")");
    need(Boolean(rest.right) === ["AND", "OR"].includes(rest.operator), "conditions not joined by AND or OR");
    if (rest.right) yield rest.operator;
  }
}

// Return [word, conditions] of the words up to a closing parenthesis. A condition in parentheses is such a pair too.
function joined(left) {
  const found = [];
  let word = "AND";
  while (left.length && left[0] !== ")") {
    const next = left.shift();
    found.push(next === "(" ? joined(left) : next);
    if (next === "(") need(left.shift() === ")", "a parenthesis that is not closed");
    if (!left.length || left[0] === ")") break;
    need(found.length === 1 || word === left[0], "AND and OR without parentheses");
    word = left.shift();
  }
  return [word, found];
}

function leaves(condition) {
  const [word, parts] = condition;
  return ["AND", "OR"].includes(word) ? parts.flatMap(leaves) : [condition];
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
    } else if (field.functionName === "COUNT" && field.alias) found.counted = [...(found.counted ?? []), ...field.parameters];
    else {
      need(field.rawValue === "COUNT()" && tree.fields.length === 1, `unexpected: ${field.rawValue}`);
      found.count = true;
    }
  }
  const [word, conditions] = joined([...words(tree.where)]);
  need(word === "AND", "conditions joined by OR");
  Object.assign(found, { conditions, compared: conditions.flatMap(leaves) });
  found.group = (tree.groupBy ?? []).map((each) => each.field);
  found.order = (tree.orderBy ?? []).map((each) => [each.field ?? each.fn?.rawValue, each.order]);
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
