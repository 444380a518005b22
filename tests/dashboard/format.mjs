// Numbers, sizes and times at their edges: nothing is shown that is none.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const source = await readFile(new URL("../../src/http/dashboard/format.js", import.meta.url), "utf8");
const format = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const table = {
  count: [[0, "0"], [-1, "-1"], [1e6, "1,000,000"], [2 ** 63, "9,223,372,036,854,776,000"]],
  bytes: [[0, "0 B"], [999, "999 B"], [1024, "1 KiB"], [1536, "1.5 KiB"], [1023.9 * 1024, "1 MiB"], [2 ** 63, "8 EiB"], [1e30, "867,000,000,000 EiB"], [-2048, "-2 KiB"]],
  rate: [[0, "0"], [0.04, "0.0"], [9.96, "10.0"], [9999, "9,999"], [9999.6, "10k"], [999_600, "1M"], [12_345_678, "12.3M"], [1e15, "1,000,000G"]],
  brief: [[0, "0 ns"], [999, "999 ns"], [999.6, "1 µs"], [999_999, "1 ms"], [1.5e9, "1.5 s"], [3.6e12, "3,600 s"]],
  duration: [[0, "0 s"], [-5, "0 s"], [59_499, "59 s"], [59_500, "1 m 00 s"], [3_599_999, "1 h 00 m"], [86_399_999, "1 d 00 h"], [90 * 86_400_000, "90 d 00 h"], [1000 * 86_400_000, "2.74 years"], [2 ** 63, "292M years"]],
  moment: [[8.64e15 + 1, "after the year 275760"], [2 ** 63, "after the year 275760"], [-8.64e15 - 1, "–"]],
};
for (const [name, cases] of Object.entries(table)) {
  for (const [number, shown] of cases) assert.equal(format[name](number), shown, `${name}(${number})`);
  for (const none of [NaN, Infinity, -Infinity, undefined, null]) assert.equal(format[name](none), "–", `${name}(${none})`);
}
assert.match(format.moment(8.64e15), /275760/);
for (const [part, all, shown] of [[0, 1, "0 %"], [1, 0, "–"], [1, 3, "33.3 %"], [5, 2, "250 %"], [NaN, 1, "–"], [1, NaN, "–"], [1, Infinity, "0 %"]]) {
  assert.equal(format.percent(part, all), shown, `${part} of ${all}`);
}
for (const [plain, stored, shown] of [[0, 0, "–"], [4, 2, "2.00×"], [1, Infinity, "0.00×"], [NaN, 1, "–"], [undefined, 1, "–"]]) {
  assert.equal(format.ratio(plain, stored), shown, `${plain} to ${stored}`);
}
console.log("done");
