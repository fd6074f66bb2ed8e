import { createHash } from 'node:crypto'

/** The one style sheet of the operations page; nothing else may style it. */
export const style = `
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#4f5c6d;--line:#d5dbe3;--accent:#1f5fbf;--bar:#3f7fdc;--danger:#b3261e;--on:#fff;--good:#e7f4ea;--bad:#fdebea}
@media (prefers-color-scheme:dark){:root{--ground:#11161d;--card:#1a212b;--ink:#e8edf3;--soft:#aab5c4;--line:#344050;--accent:#8ab8ff;--bar:#6fa6f7;--danger:#ff9d94;--on:#11161d;--good:#17301f;--bad:#3a1b1a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header,main{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;flex-wrap:wrap;gap:.5rem 1.25rem;align-items:center;padding-top:1rem}
header p{margin:0 0 0 auto;color:var(--soft)}
h1{font-size:1.35rem;margin:0}
h2{font-size:1.05rem;margin:0 0 .5rem}
nav{margin:.75rem 0 .25rem}
h3{font-size:.9rem;margin:0;font-weight:600;color:var(--soft)}
section,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.1rem;margin:1rem 0;min-width:0}
.charts{margin-top:.75rem;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(21rem,100%),1fr));gap:1rem}
.charts .card{margin:0;padding:.7rem 1rem}
.figure{font-size:1.6rem;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr));gap:0 1rem;align-items:start}
.reading{display:flex;gap:.6rem;align-items:baseline;flex-wrap:wrap}
svg{display:block;width:100%;height:56px;margin-top:.35rem}
.bars{fill:var(--bar)}.base{stroke:var(--line);stroke-width:1}
.axis{display:flex;justify-content:space-between;color:var(--soft);font-size:.8rem}
.table{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th{font-weight:600;color:var(--soft);white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
form.fields{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(14rem,100%),1fr));gap:.8rem 1rem;align-items:end}
label{display:block;font-weight:600;font-size:.9rem}
label span{display:block;font-weight:400;color:var(--soft);font-size:.85rem}
input,select{width:100%;margin-top:.2rem;padding:.45rem .6rem;font:inherit;font-weight:400;color:inherit;background:var(--ground);border:1px solid var(--soft);border-radius:6px}
button,.button{font:inherit;font-weight:600;padding:.45rem 1rem;border-radius:6px;border:1px solid var(--accent);background:var(--card);color:var(--accent);cursor:pointer;text-decoration:none;display:inline-block}
button.primary{background:var(--accent);color:var(--on)}
button.danger{background:var(--danger);border-color:var(--danger);color:var(--on)}
::placeholder{color:var(--soft);opacity:1}
button,.button{white-space:nowrap}
.row{display:flex;flex-wrap:wrap;gap:.75rem;align-items:center}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.notice{border-left:5px solid var(--accent);background:var(--good)}
.problem{border-left:5px solid var(--danger);background:var(--bad)}
.note{color:var(--soft);font-size:.9rem;margin:.25rem 0 0}
.narrow{max-width:32rem;margin:3rem auto}
[aria-current]{font-weight:700;text-decoration:none;color:inherit}
`

/** Source expression of the style sheet for a Content Security Policy (CSP 3, section 6.7.3.3). */
export const styleSource = `'sha256-${createHash('sha256').update(style).digest('base64')}'`
