import { expect, test } from "vitest";
import { readName } from "./name.ts";

test.each([
  ["invoices_2018-07-20.csv", "2018-07-20"],
  ["2018_07_20.csv", "2018-07-20"],
  ["Kasse 20.07.2018.CSV", "2018-07-20"],
  ["20180720.csv.gz", "2018-07-20"],
  ["a201807201230b.Csv.Gz", "2018-07-20"],
  ["20180720123059.csv", "2018-07-20"],
  // The digits of a time are not checked.
  ["201807209999.csv", "2018-07-20"],
  // The later of two, which may be written twice.
  ["2018-07-19_2018-07-20.csv", "2018-07-20"],
  ["20.07.2018-19.07.2018.csv", "2018-07-20"],
  ["2018-07-20_20.07.2018_2018_07_20_20180720.csv", "2018-07-20"],
  // Digits belong to one date only, from left to right.
  ["20.07.2018_07_19.csv", "2018-07-20"],
  ["30.02.2018_07_19.csv", "2018-07-19"],
  // What is no date is not one of two.
  ["2018-13-20_2018-07-20.csv", "2018-07-20"],
  ["1900-01-01.csv", "1900-01-01"],
  ["2099-12-31.csv", "2099-12-31"],
  ["a.csv", "no_sync_date"],
  ["2018-07-18_2018-07-19_2018-07-20.csv", "no_sync_date"],
  ["1899-12-31.csv", "no_sync_date"],
  ["2100_01_01.csv", "no_sync_date"],
  ["2018072012.csv", "no_sync_date"],
  ["2018072012305.csv", "no_sync_date"],
  ["2018_07_201.csv", "no_sync_date"],
  ["120.07.2018.csv", "no_sync_date"],
  ["2018-07_20.csv", "no_sync_date"],
  ["20-07-2018.csv", "no_sync_date"],
  ["2018.07.20.csv", "no_sync_date"],
  ["20.7.2018.csv", "no_sync_date"],
  ["30.02.2018.csv", "no_sync_date"],
  ["2018-07-20.txt", "not_csv"],
  ["2018-07-20.csv.zip", "not_csv"],
  ["2018-07-20csv", "not_csv"],
  ["2018-07-20.gz", "not_csv"],
])("the name %s says %s", (name, said) => {
  expect(readName(name)).toEqual(said.startsWith("n") ? said : { syncedOn: said });
});
