/** What ends the direct way: everything is rolled back to its savepoint. */

/** Something that the direct way is not made for. The careful way loads the drop. */
export class Surprise extends Error {}

/** More lines need new venues or partitions than are left to staging. The drop is read twice. */
export class Unprepared extends Surprise {}
