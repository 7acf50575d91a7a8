import type { ViewProps } from "../app";
import * as format from "../format";
import { Answer } from "../parts/answer";
import { Mark } from "../parts/mark";
import { Panel } from "../parts/panel";
import { Table } from "../parts/table";
import { zoneOf } from "../route";
import type { Diagnostics } from "../types";
import { Checks } from "./checks";
import { Rejections } from "./rejections";
import { WhereIsIt } from "./where-is-it";

export function DiagnosticsView({ route, isAdmin, health }: ViewProps) {
  return (
    <>
      <WhereIsIt route={route} />
      <Checks health={health} zone={zoneOf(route.params)} />
      <Rejections route={route} isAdmin={isAdmin} />
      <Answer of={health} rows={1}>
        {(data) => <Tables data={data} />}
      </Answer>
    </>
  );
}

function Tables({ data }: { data: Diagnostics }) {
  const names = Object.keys(data.tablesExist).sort();
  if (names.length === 0) return null;
  return (
    <Panel title="Tables">
      <Table
        caption="Tables and their rows"
        rows={names}
        keyOf={(name) => name}
        columns={[
          { title: "Table", cell: (name) => <code>{name}</code> },
          {
            title: "State",
            cell: (name) =>
              data.tablesExist[name] ? <Mark status="pass" word="Exists" /> : <Mark status="fail" word="Missing" />,
          },
          {
            title: "Rows",
            isNumber: true,
            cell: (name) => (typeof data.counts[name] === "number" ? format.count(data.counts[name]) : "–"),
          },
        ]}
      />
    </Panel>
  );
}
