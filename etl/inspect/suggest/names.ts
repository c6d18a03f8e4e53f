/** How much a column's name, in English or German, says what stands in it. */

/** What a guess is made for. */
export type Meaning = "venue" | "invoice" | "sequence" | "time" | "clock" | "total" | "status";

const ID = "( ?(id|nr|no|num|number|nummer|code|key))";
const VENUE =
  "(venue|filial|store|shop|branch|location|standort|outlet|site|niederlassung|verkaufsstelle|restaurant|markt)(e|en)?";
const OTHER_VENUE = "(laden|betrieb|betriebsst(ä|ae)tte|haus)";
const TILL = "(kasse|kassen|register|terminal|till|pos|merchant)";
const RECEIPT =
  "(invoice|receipt|bon|beleg|rechnung|rechnungs|order|transaction|transaktion|transaktions|bestell|bestellung|bestellungs|quittung|quittungs|ticket|basket|sale|check|vorgang|vorgangs|payment)";
/** What is part of a total, or no total at all. */
const PART_OF_TOTAL = [
  "netto|net|tax|taxes|steuer|mwst|ust|vat|discount|rabatt|tip|trinkgeld|fee|fees|geb(ü|ue)hr|refund|refunded|subtotal",
  "zwischensumme|rate|satz|unit|einzelpreis|shipping|versand|r(ü|ue)ckgeld|change|gegeben|given|cost|outstanding",
  "qty|quantity|menge|anzahl|count|lineitem|zip|plz",
].join("|");
const WHOLE_TOTAL =
  "total|grand total|gesamt|gesamtbetrag|gesamtsumme|gesamtumsatz|rechnungsbetrag|endbetrag|summe|bruttoumsatz|bruttobetrag|umsatz brutto|ums brutto|total amount|amount total|total gross|gross total|total price";

/** Patterns of names and what they are worth: the first that fits counts. */
const SCORES: Readonly<Record<Meaning, readonly (readonly [RegExp, number])[]>> = {
  venue: [
    [/^venue id$/, 10],
    [new RegExp(`^${VENUE}${ID}$`), 8],
    [new RegExp(`^(${VENUE}|${OTHER_VENUE})( name)?$`), 7],
    [new RegExp(`\\b${VENUE}\\b`), 5],
    [new RegExp(`^(z )?${TILL}(${ID}| name)?$`), 3],
  ],
  invoice: [
    [/^invoice id$/, 10],
    [new RegExp(`^${RECEIPT} ?(id|uuid|guid)$`), 9],
    [new RegExp(`^${RECEIPT}${ID}$`), 8],
    [new RegExp(`^${RECEIPT}$`), 7],
    [/^(uuid|guid|id)$/, 4],
    [/^(nr|no|number|nummer)$/, 2],
  ],
  sequence: [[new RegExp(`^(z|z nr|abschluss.*|(z )?${TILL}${ID}?|shift|schicht)$`), 5]],
  time: [
    [/^datetime created$/, 10],
    [/\b(created|erstellt|angelegt)\b/, 8],
    [/(timestamp|zeitstempel|zeitpunkt|datetime|date time|datum ?(und|\/|&)? ?(uhr)?zeit)/, 7],
    [new RegExp(`\\b(${RECEIPT}|verkauf|sales)s? ?(datum|date|time|zeit|start)\\b`), 7],
    [/\b(bezahlt|paid|sold|verkauft|completed)\b/, 5],
    [/^(datum|date|time|zeit|tag|day)$/, 5],
    [/\b(ende|end|updated|modified|ge(ä|ae)ndert|cancell?ed|storniert|exported|due|f(ä|ae)llig)\b/, 1],
    [/(datum|date|time|zeit|start)/, 4],
  ],
  clock: [[/(zeit|time|uhr|hour|stunde)/, 5]],
  total: [
    [new RegExp(`\\b(${PART_OF_TOTAL})\\b|netto|steuer|quantity|discount`), -1],
    [new RegExp(`^(${WHOLE_TOTAL})\\b`), 9],
    [/(brutto|gross)/, 8],
    [/(betrag|amount|umsatz|turnover|revenue)/, 7],
    [/(summe|total|gesamt)/, 6],
    [/(sales|value|wert|preis|price|eur|euro)\b/, 3],
  ],
  status: [[/(status|state|storno|void|cancel|training|typ|type|(?<!st)art)\b/, 5]],
};

/** @returns 0 where it says nothing, less where it says that it is something else */
export function scoreName(name: string, meaning: Meaning): number {
  const words = name
    .replace(/(\p{Ll})(\p{Lu})/gu, "$1 $2")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
  if (words === "") return 0;
  return SCORES[meaning].find(([pattern]) => pattern.test(words))?.[1] ?? 0;
}

/** Values of a status that say that a record is no sale. */
const NO_SALE = /void|storn|cancel|abge?br|fail|fehl|training|test|declined|auszahl|payout/i;

export function saysNoSale(value: string): boolean {
  return NO_SALE.test(value);
}
