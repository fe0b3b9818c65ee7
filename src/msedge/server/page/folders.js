/** The folders of a gallery as a tree in one list, each with the photos in it and below. */

/**
 * Count photos by folder.
 *
 * @param {{folder: string, photos: number}[]} folders how many photos lie directly in each.
 * @returns {{folder: string, name: string, depth: number, photos: number}[]} in the order of a
 *   tree, from the deepest folder that holds them all.
 */
export function folderTree(folders) {
  if (!folders.length) return [];
  const separator = folders[0].folder.includes("\\") ? "\\" : "/";
  const split = folders.map(({ folder, photos }) => ({ parts: folder.split(separator), photos }));
  const top = sharedDepth(split.map(({ parts }) => parts));
  const counts = new Map();
  for (const { parts, photos } of split) {
    for (let depth = top; depth <= parts.length; depth += 1) {
      const key = parts.slice(0, depth).join(separator) || separator;
      const seen = counts.get(key) ?? { parts: parts.slice(0, depth), photos: 0 };
      counts.set(key, { ...seen, photos: seen.photos + photos });
    }
  }
  return [...counts]
    .map(([folder, { parts, photos }]) => ({
      folder,
      name: parts.at(-1) || folder,
      depth: parts.length - top,
      photos,
      parts,
    }))
    .sort((a, b) => compareParts(a.parts, b.parts))
    .map(({ parts, ...rest }) => rest);
}

function sharedDepth(paths) {
  const shortest = Math.min(...paths.map((parts) => parts.length));
  let depth = 0;
  while (depth < shortest && paths.every((parts) => parts[depth] === paths[0][depth])) depth += 1;
  return depth;
}

function compareParts(a, b) {
  for (let i = 0; i < Math.min(a.length, b.length); i += 1) {
    const order = a[i].localeCompare(b[i]);
    if (order) return order;
  }
  return a.length - b.length;
}
