"""What this machine can do at most: products of matrices and copies in memory, with one thread and with all.

python benchmarks/limits.py
"""

import torch
from measure import copy_rate, cores, matmul_rate, no_arguments


def main() -> None:
    no_arguments(__doc__)
    print("| Threads | fp32, GFLOP/s | bf16, GFLOP/s | Copy, GB/s |\n|---|---|---|---|")
    for threads in dict.fromkeys((1, cores())):
        single, half = (matmul_rate(dtype, threads=threads) / 1e9 for dtype in (torch.float32, torch.bfloat16))
        print(f"| {threads} | {single:.0f} | {half:.0f} | {copy_rate(threads=threads) / 1e9:.1f} |")


if __name__ == "__main__":
    main()
