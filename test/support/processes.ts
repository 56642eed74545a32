import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Process {
  readonly pid: number;
  readonly ppid: number;
  /** With its arguments. */
  readonly command: string;
}

/** All that run on this machine. Small Linux images have no ps, other systems no /proc. */
export function processes(): Process[] {
  return process.platform === 'linux' ? fromProc() : fromPs();
}

export function childrenOf(parent: number | undefined): Process[] {
  return processes().filter(({ ppid }) => ppid === parent);
}

/** Its children and theirs. */
export function descendantsOf(ancestor: number | undefined): Process[] {
  const all = processes();
  const found = all.filter(({ ppid }) => ppid === ancestor);
  for (const { pid } of found) found.push(...all.filter(({ ppid }) => ppid === pid));
  return found;
}

export function isRunning({ pid, command }: Process): boolean {
  // Another may have got its number.
  return processes().some((each) => each.pid === pid && each.command === command);
}

function fromProc(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        // pid (name) state ppid: the name may have spaces and brackets.
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const ppid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return [{ pid: Number(pid), ppid, command }];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}

function fromPs(): Process[] {
  const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n');
  return rows.map((row) => {
    const [pid, ppid, ...words] = row.trim().split(/\s+/);
    return { pid: Number(pid), ppid: Number(ppid), command: words.join(' ') };
  });
}
