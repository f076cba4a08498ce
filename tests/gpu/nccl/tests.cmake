# The claims of nccl_main.cc, under mpirun: gpu_nccl_test(NAME RANKS EXIT TEXT CLAIM [ENVIRONMENT...]).
foreach(ranks 1 2 3 4)
  gpu_nccl_test(CollectivesSumInTheOrderOfRanks ${ranks} 0 "results holds" results)
endforeach()
gpu_nccl_test(GroupedSendsAndReceivesProgressTogether 3 0 "group holds" group)
gpu_nccl_test(SplitsOrderRanksByColorAndKey 4 0 "split holds" split)
gpu_nccl_test(ANonblockingCommunicatorIsReadyWhenAsked 3 0 "nonblocking holds" nonblocking)
gpu_nccl_test(AMismatchNamesBothOperations 3 86
  "NCCL operations do not match: rank . is in (all_reduce of 8 float32 .sum., collective 2|broadcast of 8 float32 with root 1, collective 2), rank . in (all_reduce|broadcast)"
  mismatch)
gpu_nccl_test(ACountThatDiffersIsAMismatch 2 86 "all_reduce of 8 float32 .sum., collective 1.*all_reduce of 9 float32" count)
gpu_nccl_test(AnAbortReachesThePeersAsARemoteError 3 0 "abort holds" abort)
gpu_nccl_test(ADeadPeerTurnsIntoARemoteError 3 0 "dead holds" dead "TRIREME_GPU_NCCL_FAIL=dead@2;TRIREME_GPU_NCCL_FAIL_RANK=1")
gpu_nccl_test(TwoRanksOnOneDeviceAreRefused 2 0 "Duplicate GPU detected.*duplicate holds" duplicate TRIREME_GPU_COUNT=1)
gpu_nccl_test(ACollectiveNotOrderedBehindItsInputIsFound 2 86 "gpu stand-in:.*all_reduce" race)
gpu_nccl_test(AnOperationIssuedBeforeTheCommunicatorIsReadyIsRefused 2 0 "early holds" early)
gpu_nccl_test(ACommunicatorLeftBehindIsALeak 2 86 "communicator.s. were not destroyed" leak)
